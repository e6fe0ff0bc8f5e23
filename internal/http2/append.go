package http2

import (
	"encoding/binary"

	"golang.org/x/net/http2"
)

// AppendHeader appends what a frame begins with: length is that of its payload, which is
// to follow.
func AppendHeader(b []byte, length int, kind FrameType, flags Flags, stream uint32) []byte {
	b = append(b, byte(length>>16), byte(length>>8), byte(length), byte(kind), byte(flags))
	return binary.BigEndian.AppendUint32(b, stream)
}

// AppendData appends p as a DATA frame, which the peer takes as one.
func AppendData(b []byte, stream uint32, p []byte, end bool) []byte {
	var flags Flags
	if end {
		flags = http2.FlagDataEndStream
	}
	return append(AppendHeader(b, len(p), http2.FrameData, flags, stream), p...)
}

// AppendHeaders appends a block of fields, in as many frames as it takes if none may have
// more than limit bytes (RFC 9113, section 6.10).
func AppendHeaders(b []byte, stream uint32, block []byte, end bool, limit int) []byte {
	kind, flags := http2.FrameHeaders, Flags(0)
	if end {
		flags = http2.FlagHeadersEndStream
	}
	for len(block) > limit {
		b = append(AppendHeader(b, limit, kind, flags, stream), block[:limit]...)
		block, kind, flags = block[limit:], http2.FrameContinuation, 0
	}
	return append(AppendHeader(b, len(block), kind, flags|http2.FlagHeadersEndHeaders, stream), block...)
}

// A Setting is one that is announced.
type Setting struct {
	ID    SettingID
	Value uint32
}

// AppendSettings appends a SETTINGS frame.
func AppendSettings(b []byte, settings ...Setting) []byte {
	b = AppendHeader(b, 6*len(settings), http2.FrameSettings, 0, 0)
	for _, s := range settings {
		b = binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint16(b, uint16(s.ID)), s.Value)
	}
	return b
}

// AppendSettingsAck appends that the peer's SETTINGS are taken for good.
func AppendSettingsAck(b []byte) []byte {
	return AppendHeader(b, 0, http2.FrameSettings, http2.FlagSettingsAck, 0)
}

// AppendPing appends a PING with data, which has eight bytes, or the answer to one.
func AppendPing(b []byte, ack bool, data []byte) []byte {
	var flags Flags
	if ack {
		flags = http2.FlagPingAck
	}
	return append(AppendHeader(b, len(data), http2.FramePing, flags, 0), data...)
}

// AppendReset appends a RST_STREAM frame.
func AppendReset(b []byte, stream uint32, code ErrCode) []byte {
	return binary.BigEndian.AppendUint32(AppendHeader(b, 4, http2.FrameRSTStream, 0, stream), uint32(code))
}

// AppendWindowUpdate appends that the peer may send n bytes more on a stream, or on the
// connection, which is stream 0.
func AppendWindowUpdate(b []byte, stream uint32, n int32) []byte {
	return binary.BigEndian.AppendUint32(AppendHeader(b, 4, http2.FrameWindowUpdate, 0, stream), uint32(n))
}

// AppendGoAway appends a GOAWAY frame: no stream behind last is looked at.
func AppendGoAway(b []byte, last uint32, code ErrCode) []byte {
	b = binary.BigEndian.AppendUint32(AppendHeader(b, 8, http2.FrameGoAway, 0, 0), last)
	return binary.BigEndian.AppendUint32(b, uint32(code))
}
