package http2

import (
	"encoding/binary"
	"fmt"

	"golang.org/x/net/http2"
)

// What x/net calls these.
type (
	ErrCode   = http2.ErrCode
	FrameType = http2.FrameType
	Flags     = http2.Flags
	SettingID = http2.SettingID
)

// Preface is what a client sends first (RFC 9113, section 3.4).
const Preface = http2.ClientPreface

const (
	headerSize = 9 // of a frame
	// MinFrame is how long the payload of a frame may be unless its reader has said
	// otherwise (RFC 9113, section 6.5.2).
	MinFrame = 16 << 10
	// MinWindow is how much may be sent unless the peer has said otherwise (RFC 9113,
	// section 6.9.2).
	MinWindow = 1<<16 - 1
	maxFrame  = 1<<24 - 1
)

// The types of frames beyond those of RFC 9113.
const FramePriorityUpdate FrameType = 0x10 // RFC 9218, section 7.1

// A ConnError is why nothing more can be read of a connection (RFC 9113, section 5.4.1).
type ConnError struct {
	Code  ErrCode
	Cause string // in words, for the log
}

func (e *ConnError) Error() string { return e.Cause }

// A StreamError is why one stream is given up (RFC 9113, section 5.4.2).
type StreamError struct {
	Stream uint32
	Code   ErrCode
	Cause  string
}

func (e *StreamError) Error() string { return e.Cause }

func connError(code ErrCode, format string, args ...any) error {
	return &ConnError{code, fmt.Sprintf(format, args...)}
}

// A Frame is one as it was read: Payload is a part of what was read, without padding.
type Frame struct {
	Type    FrameType
	Flags   Flags
	Stream  uint32
	Payload []byte
	// Flow is how much of the windows a DATA frame takes: its padding counts.
	Flow int
	// Priority is what a HEADERS or PRIORITY frame says a stream depends on, and Depends
	// whether one says anything (RFC 9113, section 5.3.2: nobody acts on it).
	Priority uint32
	Depends  bool
}

// Has reports whether f has the flag.
func (f *Frame) Has(flag Flags) bool { return f.Flags.Has(flag) }

// ParseFrame reads the frame that b begins with, of which the payload has limit bytes at
// most, and returns how many bytes it took; 0: it is not whole yet. The error is a
// [*ConnError] or, where the frame can be passed over, a [*StreamError].
func ParseFrame(b []byte, limit int) (f Frame, n int, err error) {
	if len(b) < headerSize {
		return f, 0, nil
	}
	length := int(b[0])<<16 | int(b[1])<<8 | int(b[2])
	f.Type, f.Flags = FrameType(b[3]), Flags(b[4])
	f.Stream = binary.BigEndian.Uint32(b[5:]) & (1<<31 - 1)
	if length > limit {
		return f, 0, connError(http2.ErrCodeFrameSize, "a %v frame of %d bytes", f.Type, length)
	}
	if n = headerSize + length; len(b) < n {
		return f, 0, nil
	}
	f.Payload = b[headerSize:n:n]
	return f, n, f.check()
}

// check judges what the frame's type says of its stream and its payload (RFC 9113,
// section 6), and takes off what is not meant.
func (f *Frame) check() error {
	length := len(f.Payload)
	ofStream := f.Stream != 0
	switch f.Type {
	case http2.FrameData:
		f.Flow = length
		return f.unpad(ofStream)
	case http2.FrameHeaders:
		if err := f.unpad(ofStream); err != nil || !f.Has(http2.FlagHeadersPriority) {
			return err
		}
		if len(f.Payload) < 5 {
			return connError(http2.ErrCodeFrameSize, "HEADERS without the priority that it announces")
		}
		f.depend()
		f.Payload = f.Payload[5:]
	case http2.FramePriority:
		switch {
		case !ofStream:
			return connError(http2.ErrCodeProtocol, "PRIORITY of no stream")
		case length != 5:
			return &StreamError{f.Stream, http2.ErrCodeFrameSize, "PRIORITY of another length than 5"}
		}
		f.depend()
	case http2.FrameRSTStream:
		return f.fixed(ofStream, 4)
	case http2.FrameSettings:
		switch {
		case ofStream:
			return connError(http2.ErrCodeProtocol, "SETTINGS of a stream")
		case f.Has(http2.FlagSettingsAck) && length > 0, length%6 != 0:
			return connError(http2.ErrCodeFrameSize, "SETTINGS of %d bytes", length)
		}
	case http2.FramePing:
		return f.fixed(!ofStream, 8)
	case http2.FrameGoAway:
		if ofStream || length < 8 {
			return connError(http2.ErrCodeProtocol, "a GOAWAY of %d bytes, or of a stream", length)
		}
	case http2.FrameWindowUpdate:
		if length != 4 {
			return connError(http2.ErrCodeFrameSize, "WINDOW_UPDATE of %d bytes", length)
		}
	case http2.FrameContinuation:
		if !ofStream {
			return connError(http2.ErrCodeProtocol, "CONTINUATION of no stream")
		}
	case http2.FramePushPromise:
		return connError(http2.ErrCodeProtocol, "PUSH_PROMISE, which nobody has allowed")
	case FramePriorityUpdate:
		switch {
		case ofStream:
			return connError(http2.ErrCodeProtocol, "PRIORITY_UPDATE of a stream")
		case length < 4:
			return connError(http2.ErrCodeFrameSize, "PRIORITY_UPDATE of %d bytes", length)
		}
	}
	return nil
}

// fixed judges a frame that has want bytes, and a stream where one has to be.
func (f *Frame) fixed(stream bool, want int) error {
	switch {
	case !stream:
		return connError(http2.ErrCodeProtocol, "%v of stream %d", f.Type, f.Stream)
	case len(f.Payload) != want:
		return connError(http2.ErrCodeFrameSize, "%v of %d bytes", f.Type, len(f.Payload))
	}
	return nil
}

// unpad takes off the padding (RFC 9113, section 6.1).
func (f *Frame) unpad(ofStream bool) error {
	if !ofStream {
		return connError(http2.ErrCodeProtocol, "%v of no stream", f.Type)
	}
	if !f.Has(http2.FlagDataPadded) { // HEADERS have the same flag for it
		return nil
	}
	if len(f.Payload) == 0 {
		return connError(http2.ErrCodeFrameSize, "%v without the length of its padding", f.Type)
	}
	padding := int(f.Payload[0])
	f.Payload = f.Payload[1:]
	if padding > len(f.Payload) {
		return connError(http2.ErrCodeProtocol, "%v with more padding than there is", f.Type)
	}
	f.Payload = f.Payload[:len(f.Payload)-padding]
	return nil
}

func (f *Frame) depend() {
	f.Depends, f.Priority = true, binary.BigEndian.Uint32(f.Payload)&(1<<31-1)
}

// Code is that of a RST_STREAM frame.
func (f *Frame) Code() ErrCode { return ErrCode(binary.BigEndian.Uint32(f.Payload)) }

// Increment is that of a WINDOW_UPDATE frame.
func (f *Frame) Increment() int32 {
	return int32(binary.BigEndian.Uint32(f.Payload) & (1<<31 - 1))
}

// Updated is the stream of a PRIORITY_UPDATE frame, and what it says of its priority.
func (f *Frame) Updated() (stream uint32, priority string) {
	return binary.BigEndian.Uint32(f.Payload) & (1<<31 - 1), string(f.Payload[4:])
}

// Settings calls each with each setting of a SETTINGS frame, until one is refused.
func (f *Frame) Settings(each func(id SettingID, value uint32) error) error {
	for p := f.Payload; len(p) >= 6; p = p[6:] {
		id, value := SettingID(binary.BigEndian.Uint16(p)), binary.BigEndian.Uint32(p[2:])
		if err := checkSetting(id, value); err != nil {
			return err
		}
		if err := each(id, value); err != nil {
			return err
		}
	}
	return nil
}

// checkSetting judges the value of a setting (RFC 9113, section 6.5.2).
func checkSetting(id SettingID, value uint32) error {
	switch {
	case id == http2.SettingEnablePush && value > 1,
		id == http2.SettingMaxFrameSize && (value < MinFrame || value > maxFrame):
		return connError(http2.ErrCodeProtocol, "setting %v of %d", id, value)
	case id == http2.SettingInitialWindowSize && value > 1<<31-1:
		return connError(http2.ErrCodeFlowControl, "setting %v of %d", id, value)
	}
	return nil
}
