package h1_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"strconv"
	"testing"
	"time"

	"github.com/foretier/foretier/internal/http1"
	"github.com/foretier/foretier/internal/testkit"
	"github.com/foretier/foretier/router/edge/internal/h1"
	"github.com/foretier/foretier/router/edge/internal/wire"
)

// A looped connection brings the same request again and again, without a kernel.
// Its socket is there to be watched.
type looped struct {
	net.Conn
	request string
	b       *testing.B
	over    bool
}

func (c *looped) Read(p []byte) (int, error) {
	if c.over = c.over || !c.b.Loop(); c.over {
		return 0, io.EOF
	}
	return copy(p, c.request), nil
}

func (c *looped) Write(p []byte) (int, error) { return len(p), nil }

// NetConn shows the socket.
func (c *looped) NetConn() net.Conn { return c.Conn }

// BenchmarkServe is what the server itself costs a request.
func BenchmarkServe(b *testing.B) {
	page := make([]byte, 1024)
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h["Content-Type"] = []string{"text/html"}
		h["Content-Length"] = []string{strconv.Itoa(len(page))}
		w.Write(page)
	})
	for name, request := range map[string]string{
		"bare":    "GET /page HTTP/1.1\r\nHost: shop.example\r\n\r\n",
		"browser": "GET /page HTTP/1.1\r\nHost: shop.example\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\nAccept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\nAccept-Language: en-US,en;q=0.5\r\nAccept-Encoding: gzip, deflate, br, zstd\r\nReferer: https://shop.example/\r\nConnection: keep-alive\r\nCookie: _ga=GA1.2.3; _fbp=fb.1.2\r\nUpgrade-Insecure-Requests: 1\r\nSec-Fetch-Dest: document\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Site: same-origin\r\n\r\n",
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			set := wire.NewSet(wire.Options{WriteStall: time.Minute})
			defer set.Close()
			srv := h1.Server{Handler: h, HeadTime: time.Minute, Head: http1.Limits{Target: 8000, Size: 32 << 10, Fields: 256, Cookies: 512}}
			socket := testkit.Dial(b, testkit.Listen(b).Addr().String())
			c := set.Add(&looped{Conn: socket, request: request, b: b})
			srv.Serve(context.Background(), c, c, anybody{})
		})
	}
}
