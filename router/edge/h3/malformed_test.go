package h3_test

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
	"github.com/quic-go/quic-go/quicvarint"

	"github.com/foretier/foretier/internal/testkit"
	"github.com/foretier/foretier/router/edge"
)

// TestMalformed: what is no request reaches no handler (RFC 9114, sections 4.1 to 4.3, RFC
// 9204, section 4.5), and leaves the server as it was.
func TestMalformed(t *testing.T) {
	var served atomic.Int64
	f := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { served.Add(1) }), edge.Options{})
	without := func(name string) (out []pair) {
		for _, p := range getting("/") {
			if p.name != name {
				out = append(out, p)
			}
		}
		return out
	}
	with := func(name, value string) []pair { return append(without(name), pair{name, value}) }
	for what, fields := range map[string][]pair{
		"no method":                      without(":method"),
		"no path":                        without(":path"),
		"no authority":                   without(":authority"),
		"an empty method":                with(":method", ""),
		"an empty path":                  with(":path", ""),
		"an empty authority":             with(":authority", ""),
		"two methods":                    getting("/", pair{":method", "POST"}),
		"two paths":                      getting("/", pair{":path", "/admin"}),
		"two authorities":                getting("/", pair{":authority", "other.example"}),
		"two schemes":                    getting("/", pair{":scheme", "http"}),
		"a method with a line":           with(":method", "GET / HTTP/1.1\r\nX: y"),
		"a method with a blank":          with(":method", "GET /admin"),
		"a path without a slash":         with(":path", "admin"),
		"an absolute path":               with(":path", "https://shop.example/admin"),
		"a path with a line":             with(":path", "/ HTTP/1.1\r\nX: y"),
		"a path with NUL":                with(":path", "/\x00"),
		"an asterisk":                    with(":path", "*"),
		"an authority with a line":       with(":authority", "shop.example\r\nX: y"),
		"an authority with a user":       with(":authority", "user@shop.example"),
		"a status":                       append(getting("/"), pair{":status", "200"}),
		"an unknown one":                 append(getting("/"), pair{":admin", "1"}),
		"a protocol without CONNECT":     append(getting("/"), pair{":protocol", "websocket"}),
		"one behind a field":             append(append(without(":path"), pair{"a", "b"}), pair{":path", "/"}),
		"another host":                   getting("/", pair{"host", "other.example"}),
		"two hosts":                      getting("/", pair{"host", "shop.example"}, pair{"host", "shop.example"}),
		"a name in capitals":             getting("/", pair{"X-A", "b"}),
		"an empty name":                  getting("/", pair{"", "b"}),
		"a name with a blank":            getting("/", pair{"a b", "c"}),
		"a name with a colon":            getting("/", pair{"a:b", "c"}),
		"a name with a line":             getting("/", pair{"a\r\nb", "c"}),
		"a value with a line":            getting("/", pair{"a", "b\r\nc: d"}),
		"a value with LF":                getting("/", pair{"a", "b\nc: d"}),
		"a value with NUL":               getting("/", pair{"a", "b\x00"}),
		"connection":                     getting("/", pair{"connection", "close"}),
		"keep-alive":                     getting("/", pair{"keep-alive", "timeout=5"}),
		"proxy-connection":               getting("/", pair{"proxy-connection", "close"}),
		"transfer-encoding":              getting("/", pair{"transfer-encoding", "chunked"}),
		"upgrade":                        getting("/", pair{"upgrade", "websocket"}),
		"te":                             getting("/", pair{"te", "gzip"}),
		"a length that is none":          getting("/", pair{"content-length", "abc"}),
		"a negative length":              getting("/", pair{"content-length", "-1"}),
		"a length with a sign":           getting("/", pair{"content-length", "+5"}),
		"a length with a blank":          getting("/", pair{"content-length", "5 "}),
		"a list of lengths":              getting("/", pair{"content-length", "5, 5"}),
		"two lengths":                    getting("/", pair{"content-length", "5"}, pair{"content-length", "6"}),
		"a length beyond all":            getting("/", pair{"content-length", "9223372036854775808"}),
		"CONNECT with a path":            with(":method", "CONNECT"),
		"an extended CONNECT of no name": {{":method", "CONNECT"}, {":protocol", "web socket"}, {":scheme", "https"}, {":authority", "shop.example"}, {":path", "/"}},
	} {
		c := f.dial(t, nil)
		r, err := c.ask(fields)
		if r.status != 0 && r.status < 400 || r.status == 0 && err == nil {
			t.Errorf("%s: %d, %v", what, r.status, err)
		}
		if n := served.Swap(0); n != 0 {
			t.Errorf("%s: a handler has seen it", what)
		}
		if r, err := c.ask(getting("/")); err != nil || r.status != 200 {
			t.Errorf("%s: the next on the connection: %d, %v", what, r.status, err)
		}
		served.Store(0)
	}

	frame := func(kind uint64, payload string) []byte { return appendFrame(nil, kind, []byte(payload)) }
	for what, c := range map[string]struct {
		raw    []byte
		closes http3.ErrCode // the connection; 0: the stream alone
	}{
		"nothing":                          {nil, 0},
		"no frame's length":                {[]byte{frameHeaders}, 0},
		"half a header":                    {header(getting("/"))[:12], 0},
		"a length beyond all":              {append([]byte{frameHeaders}, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff), 0},
		"a body before its header":         {frame(frameData, "hello"), http3.ErrCodeFrameUnexpected},
		"SETTINGS on a request's stream":   {frame(0x4, ""), http3.ErrCodeFrameUnexpected},
		"GOAWAY on one":                    {frame(frameGoAway, "\x00"), http3.ErrCodeFrameUnexpected},
		"a frame of HTTP/2":                {frame(0x2, "12345"), http3.ErrCodeFrameUnexpected},
		"a header that is no QPACK":        {frame(frameHeaders, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"), 0},
		"a reference to the dynamic table": {frame(frameHeaders, "\x02\x00\x80"), 0},
		"an empty header":                  {frame(frameHeaders, ""), 0},
		"an empty block":                   {frame(frameHeaders, "\x00\x00"), 0},
	} {
		conn := f.dial(t, nil)
		r, err := answer(conn.send(c.raw))
		if r.status != 0 && r.status < 400 || r.status == 0 && err == nil {
			t.Errorf("%s: %d, %v", what, r.status, err)
		}
		if n := served.Swap(0); n != 0 {
			t.Errorf("%s: a handler has seen it", what)
		}
		if c.closes != 0 {
			if err := closedBy(t, conn.Conn, 10*time.Second); !isH3(err, c.closes) {
				t.Errorf("%s: closed with %v", what, err)
			}
		}
	}
	// A frame that nobody knows is none (RFC 9114, section 9), even between those of a request.
	b := append(frame(0x21, "grease"), header(getting("/"))...)
	if r, err := answer(f.dial(t, nil).send(append(b, frame(0x21, strings.Repeat("grease", 1000))...))); err != nil || r.status != 200 {
		t.Errorf("with unknown frames: %d, %v", r.status, err)
	}

	for what, c := range map[string]struct {
		raw    []byte
		closes http3.ErrCode // 0: it stays
	}{
		"a push":                            {quicvarint.Append(nil, 0x1), http3.ErrCodeStreamCreationError},
		"a control stream without SETTINGS": {append([]byte{0x0}, frame(frameGoAway, "\x00")...), http3.ErrCodeMissingSettings},
		"a control stream that ends":        {append([]byte{0x0}, frame(0x4, "")...), http3.ErrCodeClosedCriticalStream},
		"SETTINGS twice":                    {append(append([]byte{0x0}, frame(0x4, "")...), frame(0x4, "")...), http3.ErrCodeFrameUnexpected},
		"a body on it":                      {append(append([]byte{0x0}, frame(0x4, "")...), frame(frameData, "x")...), http3.ErrCodeFrameUnexpected},
		"a stream that nobody knows":        {quicvarint.Append(nil, 0x21), 0},
	} {
		conn := f.dial(t, nil)
		s, err := conn.OpenUniStream()
		if err != nil {
			t.Fatal(err)
		}
		_, _ = s.Write(c.raw)
		_ = s.Close()
		if c.closes == 0 {
			if r, err := conn.ask(getting("/")); err != nil || r.status != 200 {
				t.Errorf("%s: %d, %v", what, r.status, err)
			}
		} else if err := closedBy(t, conn.Conn, 10*time.Second); !isH3(err, c.closes) {
			t.Errorf("%s: closed with %v", what, err)
		}
	}
}

// TestUnknownStreams: a client has no more one-way streams than it needs.
func TestUnknownStreams(t *testing.T) {
	f := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {}), edge.Options{})
	c := f.dial(t, nil)
	n := 0
	for ; n < 100; n++ {
		s, err := c.OpenUniStream()
		if err != nil {
			break
		}
		_, _ = s.Write([]byte{0x40}) // half a type
	}
	if n != 10 {
		t.Errorf("%d streams were open", n)
	}
	if r, err := c.ask(getting("/")); err != nil || r.status != 200 {
		t.Errorf("%d, %v", r.status, err)
	}
}

// TestNoise: what is no QUIC costs nobody anything.
func TestNoise(t *testing.T) {
	f := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {}), edge.Options{})
	pc := dialUDP(t, f)
	for n := range 1200 {
		_, _ = pc.Write(bytes.Repeat([]byte{byte(n), 0xc0, byte(n >> 3)}, n/3+1))
	}
	if r, err := f.dial(t, nil).ask(getting("/")); err != nil || r.status != 200 {
		t.Errorf("%d, %v", r.status, err)
	}
}

// TestCONNECT: no tunnels, and websockets by HTTP/1.1.
func TestCONNECT(t *testing.T) {
	var log testkit.Log
	f := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "served") }), edge.Options{Logger: log.Logger()})
	c := f.dial(t, &quic.Config{})
	for what, tc := range map[string]struct {
		fields []pair
		want   int
	}{
		"tunnel":       {[]pair{{":method", "CONNECT"}, {":authority", "db.example:3306"}}, 405},
		"websocket":    {[]pair{{":method", "CONNECT"}, {":protocol", "websocket"}, {":scheme", "https"}, {":authority", "shop.example"}, {":path", "/ws"}}, 501},
		"webtransport": {[]pair{{":method", "CONNECT"}, {":protocol", "webtransport"}, {":scheme", "https"}, {":authority", "shop.example"}, {":path", "/wt"}}, 501},
	} {
		r, err := answer(c.open(header(tc.fields))) // which does not end
		if r.status != tc.want {
			t.Errorf("%s: %d, %v, want %d", what, r.status, err, tc.want)
		}
	}
	log.Wants(t, "level=INFO", "proto=HTTP/3.0", "status=501", "websocket")
}
