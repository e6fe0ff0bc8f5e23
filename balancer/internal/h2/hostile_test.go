package h2_test

import (
	"encoding/binary"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"

	x "golang.org/x/net/http2"

	"github.com/foretier/foretier/internal/http1"
)

// flood writes without end until the connection is closed.
func flood(write func(n int) error) func(*peer, uint32) {
	return func(p *peer, _ uint32) {
		go p.hear()
		for n := 0; n < 100_000 && write(n) == nil; n++ {
		}
	}
}

// TestHostileBackends: each is told off, and whoever asked it is told why.
func TestHostileBackends(t *testing.T) {
	raw := func(kind x.FrameType, flags x.Flags, payload ...byte) func(*peer, uint32) {
		return func(p *peer, stream uint32) { _ = p.WriteRawFrame(kind, flags, stream, payload) }
	}
	ok := []string{":status", "200"}
	cases := map[string]struct {
		does func(p *peer, stream uint32)
		want string
	}{
		"pings": {func(p *peer, _ uint32) { flood(func(int) error { return p.WritePing(false, [8]byte{}) })(p, 0) }, "too many PING"},
		"acks":  {func(p *peer, _ uint32) { flood(func(int) error { return p.WritePing(true, [8]byte{}) })(p, 0) }, "too many PING"},
		"settings": {func(p *peer, _ uint32) { flood(func(int) error { return p.WriteSettings() })(p, 0) },
			"too many SETTINGS"},
		"windows": {func(p *peer, _ uint32) { flood(func(int) error { return p.WriteWindowUpdate(0, 1) })(p, 0) },
			"too many WINDOW_UPDATE"},
		"unknown frames": {func(p *peer, _ uint32) { flood(func(int) error { return p.WriteRawFrame(0xaa, 0, 0, nil) })(p, 0) },
			"too many UNKNOWN_FRAME_TYPE_170"},
		"resets of what has ended": {func(p *peer, s uint32) {
			_ = p.WriteRSTStream(s, x.ErrCodeNo)
			flood(func(int) error { return p.WriteRSTStream(s, x.ErrCodeNo) })(p, 0)
		}, "reset the stream: NO_ERROR"},
		"farewells": {func(p *peer, s uint32) { flood(func(int) error { return p.WriteGoAway(s, x.ErrCodeNo, nil) })(p, 0) }, "too many GOAWAY"},
		"empty DATA": {func(p *peer, s uint32) {
			_ = p.headers(s, false, ok...)
			flood(func(int) error { return p.WriteData(s, false, nil) })(p, 0)
		}, "too many DATA"},
		"CONTINUATION": {func(p *peer, s uint32) {
			_ = p.WriteHeaders(x.HeadersFrameParam{StreamID: s, BlockFragment: p.block(ok...)})
			flood(func(int) error { return p.WriteContinuation(s, false, nil) })(p, 0)
		}, "fields in 129 frames"},
		"CONTINUATION of much": {func(p *peer, s uint32) {
			_ = p.WriteHeaders(x.HeadersFrameParam{StreamID: s, BlockFragment: p.block(ok...)})
			field := p.block("x-large", strings.Repeat("\x01", 16000))
			flood(func(int) error { return p.WriteContinuation(s, false, field) })(p, 0)
		}, "bytes of fields in"},
		"a bomb of fields": {func(p *peer, s uint32) {
			b := p.block(":status", "200", "bomb", strings.Repeat("b", 3900)) // and from then on a byte each
			if b2 := p.block("bomb", strings.Repeat("b", 3900)); len(b2) == 1 {
				_ = p.WriteHeaders(x.HeadersFrameParam{StreamID: s, BlockFragment: append(b, strings.Repeat(string(b2), 12000)...), EndHeaders: true, EndStream: true})
			}
			p.hear()
		}, "the response's header has more than"},
		"a bomb of trailers": {func(p *peer, s uint32) {
			_ = p.headers(s, false, ok...)
			b := p.block("bomb", strings.Repeat("b", 3900))
			if b2 := p.block("bomb", strings.Repeat("b", 3900)); len(b2) == 1 {
				_ = p.WriteHeaders(x.HeadersFrameParam{StreamID: s, BlockFragment: append(b, strings.Repeat(string(b2), 12000)...), EndHeaders: true, EndStream: true})
			}
			p.hear()
		}, "no trailers"},
		"telling without end": {func(p *peer, s uint32) {
			go p.hear()
			for p.headers(s, false, ":status", "103", "link", strings.Repeat("l", 3000)) == nil {
			}
		}, "the response's header has more than"},
		"DATA of other streams": {func(p *peer, s uint32) { _ = p.WriteData(s+2, false, nil); p.hear() }, "nobody has begun"},
		"DATA before a head":    {func(p *peer, s uint32) { _ = p.WriteData(s, false, []byte("a")); p.hear() }, "DATA before a response"},
		"a pushed page":         {raw(x.FramePushPromise, x.FlagPushPromiseEndHeaders, 0, 0, 0, 2), "PUSH_PROMISE"},
		"a request of its own":  {func(p *peer, s uint32) { _ = p.headers(s+1, true, ok...); p.hear() }, "nobody has begun"},
		"no compression":        {raw(x.FrameHeaders, x.FlagHeadersEndHeaders, 0xff, 0xff, 0xff, 0xff, 0xff), ""},
		"another frame within": {func(p *peer, s uint32) {
			_ = p.WriteHeaders(x.HeadersFrameParam{StreamID: s})
			_ = p.WritePing(false, [8]byte{})
			p.hear()
		}, "within the fields"},
		"a window of nothing": {func(p *peer, s uint32) { _ = p.WriteRawFrame(x.FrameWindowUpdate, 0, 0, make([]byte, 4)); p.hear() }, "WINDOW_UPDATE of nothing"},
		"a window too large": {func(p *peer, s uint32) {
			_ = p.WriteRawFrame(x.FrameWindowUpdate, 0, 0, binary.BigEndian.AppendUint32(nil, 1<<31-1))
			p.hear()
		}, "a window that is too large"},
		"a frame too large": {func(p *peer, s uint32) { _ = p.WriteRawFrame(x.FrameData, 0, s, make([]byte, 16<<10+1)) }, "a DATA frame of 16385 bytes"},
		"no status":         {func(p *peer, s uint32) { _ = p.headers(s, true, "a", "b"); p.hear() }, "malformed HTTP response"},
		"two statuses":      {func(p *peer, s uint32) { _ = p.headers(s, true, ":status", "200", ":status", "200"); p.hear() }, "malformed HTTP response"},
		"an odd status":     {func(p *peer, s uint32) { _ = p.headers(s, true, ":status", "2 0"); p.hear() }, "malformed HTTP response"},
		"101":               {func(p *peer, s uint32) { _ = p.headers(s, false, ":status", "101"); p.hear() }, "101, which HTTP/2 does not have"},
		"103 for good":      {func(p *peer, s uint32) { _ = p.headers(s, true, ":status", "103"); p.hear() }, "ends its stream"},
		"a line's end":      {func(p *peer, s uint32) { _ = p.headers(s, true, ":status", "200", "a", "b\r\nc: d"); p.hear() }, "malformed HTTP response"},
		"upper case":        {func(p *peer, s uint32) { _ = p.headers(s, true, ":status", "200", "X-A", "b"); p.hear() }, "malformed HTTP response"},
		"a control byte":    {func(p *peer, s uint32) { _ = p.headers(s, true, ":status", "200", "a", "b\x01"); p.hear() }, "malformed"},
		"chunks": {func(p *peer, s uint32) {
			_ = p.headers(s, true, ":status", "200", "transfer-encoding", "chunked")
			p.hear()
		}, "a field of the connection"},
		"two lengths": {func(p *peer, s uint32) {
			_ = p.headers(s, false, ":status", "200", "content-length", "1", "content-length", "2")
			p.hear()
		}, "Content-Length"},
		"a shorter body": {func(p *peer, s uint32) {
			_ = p.headers(s, false, ":status", "200", "content-length", "3")
			_ = p.WriteData(s, true, []byte("ab"))
			p.hear()
		}, "shorter than it says"},
		"no body of a length": {func(p *peer, s uint32) { _ = p.headers(s, true, ":status", "200", "content-length", "3"); p.hear() }, "shorter than it says"},
		"a longer body": {func(p *peer, s uint32) {
			_ = p.headers(s, false, ":status", "200", "content-length", "3")
			_ = p.WriteData(s, true, []byte("abcd"))
			p.hear()
		}, "longer than it says"},
		"trailers that go on": {func(p *peer, s uint32) {
			_ = p.headers(s, false, ok...)
			_ = p.headers(s, false, "a", "b")
			p.hear()
		}, "no trailers"},
		"a status behind": {func(p *peer, s uint32) {
			_ = p.headers(s, false, ok...)
			_ = p.headers(s, true, ":status", "200")
			p.hear()
		}, "no trailers"},
		"nothing": {func(*peer, uint32) {}, "closed the connection"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			tr := script(t, func(p *peer) {
				if s := p.request(); s != 0 {
					c.does(p, s)
				}
			})
			defer tr.CloseIdleConnections()
			r, err := tr.Exchange(t.Context(), call("GET", "/"))
			if err == nil {
				_, err = io.ReadAll(r)
				_ = r.Close()
			}
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

// TestMoreThanTheWindow: of a body that nobody reads no more is taken than the window says.
func TestMoreThanTheWindow(t *testing.T) {
	told := make(chan x.ErrCode, 1)
	tr := script(t, func(p *peer) {
		s := p.request()
		_ = p.headers(s, false, ":status", "200")
		go func() {
			for range 17 { // of which 16 fit
				_ = p.WriteData(s, false, make([]byte, 16<<10))
			}
		}()
		for {
			switch f := p.next().(type) {
			case nil:
				return
			case *x.RSTStreamFrame:
				told <- f.ErrCode
			}
		}
	})
	defer tr.CloseIdleConnections()
	r, err := tr.Exchange(t.Context(), call("GET", "/"))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if code := <-told; code != x.ErrCodeFlowControl {
		t.Errorf("reset with %v", code)
	}
	if b, err := io.ReadAll(r); len(b) != 256<<10 || err == nil || !strings.Contains(err.Error(), "more of a body than its window") {
		t.Errorf("%d bytes, %v", len(b), err)
	}
}

// TestWhoSpeaksNoHTTP2: it is said so.
func TestWhoSpeaksNoHTTP2(t *testing.T) {
	tr := rawScript("HTTP/1.1 400 Bad Request\r\n\r\n")
	defer tr.CloseIdleConnections()
	if _, err := tr.Exchange(t.Context(), call("GET", "/")); err == nil || !strings.Contains(err.Error(), "does not speak HTTP/2") {
		t.Errorf("got %v", err)
	}
}

// TestDATAOfStreamsThatWereGivenUp: as much as a backend may have on its way, and no more.
func TestDATAOfStreamsThatWereGivenUp(t *testing.T) {
	sent := make(chan int, 1)
	tr := script(t, func(p *peer) {
		s := p.request()
		_ = p.headers(s, false, ":status", "200")
		go p.hear()
		n := 0
		for p.WriteData(s, false, make([]byte, 1<<10)) == nil {
			n++
		}
		sent <- n
	})
	r, err := tr.Exchange(t.Context(), call("GET", "/"))
	if err != nil {
		t.Fatal(err)
	}
	_ = r.Close()
	if n := <-sent; n < 200 || n > 600 {
		t.Errorf("%d KiB were taken of a stream that was given up, with a window of 256", n)
	}
}

// TestCallsThatAreNone are sent to nobody.
func TestCallsThatAreNone(t *testing.T) {
	tr := script(t, func(*peer) { t.Error("somebody was asked") })
	for name, edit := range map[string]func(*http1.Call){
		"a method":          func(c *http1.Call) { c.Request.Method = "G T" },
		"a host":            func(c *http1.Call) { c.Request.Host = "a b" },
		"a base":            func(c *http1.Call) { c.Base = "/a b" },
		"a field's name":    func(c *http1.Call) { c.Header = http.Header{"a:b": {"1"}} },
		"a field's value":   func(c *http1.Call) { c.Header = http.Header{"A": {"1\r\nb: c"}} },
		"a trailer":         func(c *http1.Call) { c.Trailer = []string{"Content-Length"} },
		"an upgrade":        func(c *http1.Call) { c.Header = http.Header{"Upgrade": {"websocket"}} },
		"a trailer's bytes": func(c *http1.Call) { c.Trailer = []string{"a b"} },
	} {
		c := call("GET", "/")
		edit(c)
		if _, err := tr.Exchange(t.Context(), c); !errors.Is(err, http1.ErrInvalid) || c.Sent() {
			t.Errorf("%s: %v, sent: %t", name, err, c.Sent())
		}
	}
}

// FuzzBackend: whatever a backend says, its caller gets an answer or an error, and what is
// kept is bounded.
func FuzzBackend(f *testing.F) {
	frame := func(kind x.FrameType, flags x.Flags, stream byte, payload string) []byte {
		return append([]byte{0, 0, byte(len(payload)), byte(kind), byte(flags), 0, 0, 0, stream}, payload...)
	}
	settings := string(frame(x.FrameSettings, 0, 0, ""))
	f.Add([]byte(settings + string(frame(x.FrameHeaders, 5, 1, "\x88"))))
	f.Add([]byte(settings + string(frame(x.FrameHeaders, 4, 1, "\x88")) + string(frame(x.FrameData, 1, 1, "page"))))
	f.Add([]byte(settings + string(frame(x.FrameHeaders, 4, 1, "\x88\x0f\x0d\x014")) + string(frame(x.FrameData, 8, 1, "\x01page\x00")) + string(frame(x.FrameHeaders, 5, 1, "\x00\x01a\x01b"))))
	f.Add([]byte(settings + string(frame(x.FrameGoAway, 0, 0, strings.Repeat("\x00", 8)))))
	f.Add([]byte(settings + string(frame(x.FrameRSTStream, 0, 1, "\x00\x00\x00\x07"))))
	f.Fuzz(func(t *testing.T, says []byte) {
		tr := rawScript(string(says))
		defer tr.CloseIdleConnections()
		r, err := tr.Exchange(t.Context(), call("GET", "/"))
		if err != nil {
			return
		}
		defer r.Close()
		if r.Status < 200 || r.Status > 999 {
			t.Fatalf("status %d", r.Status)
		}
		h := make(http.Header)
		r.AddEndToEnd(h, nil)
		for name, values := range h {
			if strings.ContainsAny(name+strings.Join(values, ""), "\r\n\x00") || http.CanonicalHeaderKey(name) != name {
				t.Fatalf("field %q: %q", name, values)
			}
		}
		b, err := io.ReadAll(r)
		if len(b) > len(says) {
			t.Fatalf("%d bytes of a body out of %d", len(b), len(says))
		}
		if n := r.ContentLength(); err == nil && n >= 0 && int64(len(b)) != n && r.Length != 0 {
			t.Fatalf("%d bytes of a body of %s", len(b), strconv.FormatInt(n, 10))
		}
	})
}
