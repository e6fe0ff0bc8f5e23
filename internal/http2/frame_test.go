package http2_test

import (
	"bytes"
	"errors"
	"testing"

	x "golang.org/x/net/http2"

	"github.com/foretier/foretier/internal/http2"
)

// TestFramesAreAsOthersWriteAndReadThem: x/net's Framer is the other.
func TestFramesAreAsOthersWriteAndReadThem(t *testing.T) {
	var out bytes.Buffer
	other := x.NewFramer(&out, nil)
	other.WriteDataPadded(3, true, []byte("body"), make([]byte, 7))
	other.WriteHeaders(x.HeadersFrameParam{StreamID: 5, BlockFragment: []byte("block"), EndHeaders: true, PadLength: 2,
		Priority: x.PriorityParam{StreamDep: 5, Weight: 1}})
	other.WriteSettings(x.Setting{ID: x.SettingMaxFrameSize, Val: 20000}, x.Setting{ID: 77, Val: 1})
	other.WritePing(true, [8]byte{1})
	b := out.Bytes()

	next := func() http2.Frame {
		t.Helper()
		for n := range b[:9] {
			if _, got, err := http2.ParseFrame(b[:n], http2.MinFrame); got != 0 || err != nil {
				t.Fatalf("of %d bytes: %d, %v", n, got, err)
			}
		}
		f, n, err := http2.ParseFrame(b, http2.MinFrame)
		if err != nil || n == 0 {
			t.Fatal(n, err)
		}
		b = b[n:]
		return f
	}
	if f := next(); f.Type != x.FrameData || f.Stream != 3 || string(f.Payload) != "body" || f.Flow != 12 || !f.Has(x.FlagDataEndStream) {
		t.Errorf("DATA: %+v", f)
	}
	if f := next(); string(f.Payload) != "block" || !f.Depends || f.Priority != 5 || !f.Has(x.FlagHeadersEndHeaders) {
		t.Errorf("HEADERS: %+v", f)
	}
	f := next()
	sum := uint32(0)
	if err := f.Settings(func(id http2.SettingID, value uint32) error { sum += uint32(id) * value; return nil }); err != nil || sum != 5*20000+77 {
		t.Errorf("SETTINGS: %v, %d", err, sum)
	}
	if f := next(); !f.Has(x.FlagPingAck) || f.Payload[0] != 1 {
		t.Errorf("PING: %+v", f)
	}

	b = http2.AppendData(nil, 1, []byte("x"), true)
	b = http2.AppendHeaders(b, 1, []byte("0123456789"), true, 4)
	b = http2.AppendSettings(b, http2.Setting{ID: x.SettingInitialWindowSize, Value: 9})
	b = http2.AppendReset(http2.AppendWindowUpdate(http2.AppendSettingsAck(b), 3, 77), 5, x.ErrCodeCancel)
	b = http2.AppendGoAway(http2.AppendPing(b, false, []byte("01234567")), 9, x.ErrCodeNo)
	other = x.NewFramer(nil, bytes.NewReader(b))
	var got []string
	for {
		f, err := other.ReadFrame()
		if err != nil {
			break
		}
		got = append(got, f.Header().String())
	}
	want := []string{
		"[FrameHeader DATA flags=END_STREAM stream=1 len=1]", "[FrameHeader HEADERS flags=END_STREAM stream=1 len=4]",
		"[FrameHeader CONTINUATION stream=1 len=4]", "[FrameHeader CONTINUATION flags=END_HEADERS stream=1 len=2]",
		"[FrameHeader SETTINGS len=6]", "[FrameHeader SETTINGS flags=ACK len=0]", "[FrameHeader WINDOW_UPDATE stream=3 len=4]",
		"[FrameHeader RST_STREAM stream=5 len=4]", "[FrameHeader PING len=8]", "[FrameHeader GOAWAY len=8]",
	}
	for i := range want {
		if i >= len(got) || got[i] != want[i] {
			t.Fatalf("got %q, want %q", got, want)
		}
	}
}

// TestFramesThatAreNone: what each of them ends.
func TestFramesThatAreNone(t *testing.T) {
	frame := func(kind http2.FrameType, flags http2.Flags, stream uint32, payload string) []byte {
		return append(http2.AppendHeader(nil, len(payload), kind, flags, stream), payload...)
	}
	for name, c := range map[string]struct {
		b    []byte
		code http2.ErrCode
		one  bool // only its stream
	}{
		"too large":                    {frame(x.FrameData, 0, 1, string(make([]byte, http2.MinFrame+1)))[:9], x.ErrCodeFrameSize, false},
		"too large, of a kind unknown": {frame(99, 0, 1, string(make([]byte, http2.MinFrame+1)))[:9], x.ErrCodeFrameSize, false},
		"DATA of no stream":            {frame(x.FrameData, 0, 0, "x"), x.ErrCodeProtocol, false},
		"padding beyond the end":       {frame(x.FrameData, x.FlagDataPadded, 1, "\x02x"), x.ErrCodeProtocol, false},
		"no length of padding":         {frame(x.FrameData, x.FlagDataPadded, 1, ""), x.ErrCodeFrameSize, false},
		"HEADERS of no stream":         {frame(x.FrameHeaders, 0, 0, "x"), x.ErrCodeProtocol, false},
		"HEADERS without priority":     {frame(x.FrameHeaders, x.FlagHeadersPriority, 1, "1234"), x.ErrCodeFrameSize, false},
		"PRIORITY of 4 bytes":          {frame(x.FramePriority, 0, 1, "1234"), x.ErrCodeFrameSize, true},
		"PRIORITY of no stream":        {frame(x.FramePriority, 0, 0, "12345"), x.ErrCodeProtocol, false},
		"RST_STREAM of no stream":      {frame(x.FrameRSTStream, 0, 0, "1234"), x.ErrCodeProtocol, false},
		"RST_STREAM of 3 bytes":        {frame(x.FrameRSTStream, 0, 1, "123"), x.ErrCodeFrameSize, false},
		"SETTINGS of a stream":         {frame(x.FrameSettings, 0, 1, ""), x.ErrCodeProtocol, false},
		"SETTINGS of 5 bytes":          {frame(x.FrameSettings, 0, 0, "12345"), x.ErrCodeFrameSize, false},
		"ACK with settings":            {frame(x.FrameSettings, x.FlagSettingsAck, 0, "123456"), x.ErrCodeFrameSize, false},
		"PING of a stream":             {frame(x.FramePing, 0, 1, "12345678"), x.ErrCodeProtocol, false},
		"PING of 7 bytes":              {frame(x.FramePing, 0, 0, "1234567"), x.ErrCodeFrameSize, false},
		"GOAWAY of a stream":           {frame(x.FrameGoAway, 0, 1, "12345678"), x.ErrCodeProtocol, false},
		"WINDOW_UPDATE of 3 bytes":     {frame(x.FrameWindowUpdate, 0, 1, "123"), x.ErrCodeFrameSize, false},
		"CONTINUATION of no stream":    {frame(x.FrameContinuation, 0, 0, ""), x.ErrCodeProtocol, false},
		"PUSH_PROMISE":                 {frame(x.FramePushPromise, 0, 1, "1234"), x.ErrCodeProtocol, false},
		"PRIORITY_UPDATE of a stream":  {frame(http2.FramePriorityUpdate, 0, 1, "1234"), x.ErrCodeProtocol, false},
		"PRIORITY_UPDATE of 3 bytes":   {frame(http2.FramePriorityUpdate, 0, 0, "123"), x.ErrCodeFrameSize, false},
	} {
		f, n, err := http2.ParseFrame(c.b, http2.MinFrame)
		var all *http2.ConnError
		var one *http2.StreamError
		switch {
		case c.one && (!errors.As(err, &one) || one.Code != c.code || one.Stream != f.Stream || n != len(c.b)):
			t.Errorf("%s: %d, %#v", name, n, err)
		case !c.one && (!errors.As(err, &all) || all.Code != c.code):
			t.Errorf("%s: %#v", name, err)
		}
	}
	for name, payload := range map[string]string{
		"push of 2": "\x00\x02\x00\x00\x00\x02", "a window of 2^31": "\x00\x04\x80\x00\x00\x00", "frames of 1": "\x00\x05\x00\x00\x00\x01", "frames of 2^24": "\x00\x05\x01\x00\x00\x00",
	} {
		f, _, err := http2.ParseFrame(frame(x.FrameSettings, 0, 0, payload), http2.MinFrame)
		if err == nil {
			err = f.Settings(func(http2.SettingID, uint32) error { return nil })
		}
		if err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// FuzzParseFrame: what is read is what was there, and nothing beyond it.
func FuzzParseFrame(f *testing.F) {
	f.Add(http2.AppendData(nil, 1, []byte("x"), true))
	f.Add([]byte{0, 0, 3, 0, 8, 0, 0, 0, 1, 2, 0, 0})
	f.Add([]byte{0, 0, 6, 1, 0x28, 0, 0, 0, 1, 0, 0, 0, 0, 1, 2})
	f.Add(http2.AppendSettings(nil, http2.Setting{ID: 4, Value: 1}))
	f.Fuzz(func(t *testing.T, b []byte) {
		got, n, err := http2.ParseFrame(b, http2.MinFrame)
		if n > len(b) || len(got.Payload) > n || n > 9+http2.MinFrame {
			t.Fatalf("%d of %d bytes, %d of payload", n, len(b), len(got.Payload))
		}
		if err == nil && n > 0 && got.Flow > 0 && got.Flow != n-9 {
			t.Fatalf("DATA of %d bytes takes %d", n-9, got.Flow)
		}
	})
}
