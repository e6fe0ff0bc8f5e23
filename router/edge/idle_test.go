package edge

import (
	"io"
	"net"
	"net/http"
	"runtime"
	"testing"

	x "golang.org/x/net/http2"

	"github.com/foretier/foretier/internal/testkit"
)

// TestAnIdleConnectionIsSmall: one on which nothing is asked has neither buffer nor
// anything else that a request needs. Both ends are counted, but not the stack on
// which it waits for 5 s.
func TestAnIdleConnectionIsSmall(t *testing.T) {
	t.Run("HTTP/1.1", func(t *testing.T) { testIdle(t, 3<<10, asks) })
	t.Run("HTTP/2", func(t *testing.T) { testIdle(t, 12<<10, asksHTTP2) })
}

// asksHTTP2 asks as a browser does, with fields that the other end is to remember.
func asksHTTP2(c net.Conn, target string) bool {
	fr := x.NewFramer(c, c)
	_, _ = io.WriteString(c, x.ClientPreface)
	_ = fr.WriteSettings()
	block := append([]byte{0x82, 0x86, 0x44, byte(len(target))}, target...)
	for _, f := range [][2]string{{":authority", "shop.example"}, {"user-agent", "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140"},
		{"accept", "text/html,application/xhtml+xml"}, {"accept-encoding", "gzip, deflate, br, zstd"}, {"accept-language", "de-DE,de;q=0.9"}, {"cookie", "a=0123456789"}} {
		block = append(append(append(append(block, 0x40, byte(len(f[0]))), f[0]...), byte(len(f[1]))), f[1]...)
	}
	_ = fr.WriteHeaders(x.HeadersFrameParam{StreamID: 1, BlockFragment: block, EndStream: true, EndHeaders: true})
	for { // a connection that has ended is no frame
		f, err := fr.ReadFrame()
		if err != nil {
			return false
		}
		if h, ok := f.(*x.HeadersFrame); ok {
			return h.HeaderBlockFragment()[0] == 0x88
		}
	}
}

func testIdle(t *testing.T, most int, asks func(net.Conn, string) bool) {
	const n = 200
	s := start(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}), Options{NoAccessLog: true, PlainHTTP2: true})
	heap := func() int {
		runtime.GC() // what pools have survives one
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int(m.HeapAlloc)
	}
	before := heap()
	for range n {
		c := testkit.Dial(t, s.Addr().String())
		defer c.Close()
		if !asks(c, "/") {
			t.Fatal("not served")
		}
	}
	rest(t, s, n)
	if each := (heap() - before) / n; each > most {
		t.Errorf("an idle connection has %d bytes, want %d at most", each, most)
	} else {
		t.Logf("an idle connection has %d bytes", each)
	}
}
