package foretier_test

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/foretier/foretier/balancer"
	"github.com/foretier/foretier/cache"
	"github.com/foretier/foretier/internal/testkit"
	"github.com/foretier/foretier/router"
	"github.com/foretier/foretier/router/edge"
)

// A looped listener gives connections that bring the same request again and again,
// without a kernel: their sockets are there to be watched only.
type looped struct {
	net.Listener
	request string
	b       *testing.B
	over    atomic.Bool
	done    chan bool
}

func (l *looped) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &loopedConn{Conn: c, l: l}, nil
}

type loopedConn struct {
	net.Conn
	l *looped
}

func (c *loopedConn) Read(p []byte) (int, error) {
	if c.l.over.Load() || !c.l.b.Loop() {
		if !c.l.over.Swap(true) {
			close(c.l.done)
		}
		return 0, io.EOF
	}
	return copy(p, c.l.request), nil
}

func (c *loopedConn) Write(p []byte) (int, error) { return len(p), nil }

// NetConn shows the socket.
func (c *loopedConn) NetConn() net.Conn { return c.Conn }

// chain has a request come again and again through an edge and a table of rules, of
// which the last leads to h. They log nothing, unless opts have a Logger.
func chain(b *testing.B, fields string, h http.Handler, opts edge.Options) {
	quiet := slog.New(slog.DiscardHandler)
	front, err := router.New(router.Options{Logger: quiet},
		router.Rule{Name: "admin", When: router.Admin("/admin"), To: http.NotFoundHandler()},
		router.Rule{Name: "media", When: router.Path("/media/*"), To: h},
		router.Rule{Name: "shop", To: h})
	if err != nil {
		b.Fatal(err)
	}
	l := &looped{request: "GET /page HTTP/1.1\r\nHost: shop.example\r\n" + fields + "\r\n", b: b, done: make(chan bool)}
	opts.Addr, opts.Linger = "127.0.0.1:0", -1
	opts.Wrap = func(inner net.Listener) net.Listener { l.Listener = inner; return l }
	if opts.Logger == nil {
		opts.Logger, opts.NoAccessLog = quiet, true
	}
	srv, err := edge.New(front, opts)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	ctx, stop := context.WithCancel(context.Background())
	over := make(chan error)
	go func() { over <- srv.Run(ctx) }()
	testkit.Dial(b, srv.Addr().String())
	<-l.done
	stop()
	<-over
}

// heads are what clients say beside the first two lines of a request.
var heads = map[string]string{
	"bare":    "",
	"browser": "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\nAccept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\nAccept-Language: en-US,en;q=0.5\r\nAccept-Encoding: gzip, deflate, br, zstd\r\nReferer: https://shop.example/\r\nConnection: keep-alive\r\nCookie: _ga=GA1.2.3; _fbp=fb.1.2\r\nUpgrade-Insecure-Requests: 1\r\nSec-Fetch-Dest: document\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Site: same-origin\r\n",
}

// BenchmarkHit is what a hit costs that goes through the whole chain, but for the
// kernel's part in it.
func BenchmarkHit(b *testing.B) {
	body := make([]byte, 1024)
	origin := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		h := w.Header()
		h.Set("Cache-Control", "public, max-age=600")
		h.Set("Content-Type", "text/html")
		h.Set("Server", "nginx")
		h.Set("Content-Length", strconv.Itoa(len(body)))
		w.Write(body)
	})
	for name, fields := range heads {
		b.Run(name, func(b *testing.B) {
			c, err := cache.New(cache.Options{IgnoreCookies: []string{"_ga", "_fbp"}, Logger: slog.New(slog.DiscardHandler)})
			if err != nil {
				b.Fatal(err)
			}
			defer c.Close()
			chain(b, fields, c.Handler(origin), edge.Options{NoInstant: true})
		})
	}
	text := slog.New(edge.NewLogHandler(io.Discard, edge.LogOptions{}))
	json := slog.New(edge.NewLogHandler(io.Discard, edge.LogOptions{JSON: true}))
	for name, log := range map[string]edge.Options{
		"head":          {},
		"head/text":     {Logger: text},
		"head/json":     {Logger: json},
		"head/combined": {Logger: text, Combined: io.Discard},
		"chain/text":    {Logger: text, NoInstant: true},
	} {
		b.Run(name, func(b *testing.B) {
			c, err := cache.New(cache.Options{IgnoreCookies: []string{"_ga", "_fbp"}, Logger: slog.New(slog.DiscardHandler)})
			if err != nil {
				b.Fatal(err)
			}
			defer c.Close()
			chain(b, heads["browser"], c.Handler(origin), log)
		})
	}
}

// BenchmarkProxied is what a page costs that is fetched over the loopback, from a
// backend that does next to nothing; without the kernel's part in the client's side.
// Behind a cache it is judged each time whether the page may be kept after all.
func BenchmarkProxied(b *testing.B) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	page := []byte("HTTP/1.1 200 OK\r\nServer: nginx\r\nDate: Thu, 26 Nov 2026 10:00:00 GMT\r\nContent-Type: text/html\r\nContent-Length: 1024\r\nConnection: keep-alive\r\nCache-Control: no-store\r\n\r\n" + strings.Repeat("x", 1024))
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				for buf := make([]byte, 4<<10); ; {
					if _, err := c.Read(buf); err != nil {
						return
					}
					if _, err := c.Write(page); err != nil {
						return
					}
				}
			}()
		}
	}()
	for name, fields := range heads {
		b.Run(name, func(b *testing.B) {
			pool, err := balancer.New(balancer.Backends("http://"+l.Addr().String()), balancer.Options{Logger: slog.New(slog.DiscardHandler)})
			if err != nil {
				b.Fatal(err)
			}
			defer pool.Close()
			chain(b, fields, pool, edge.Options{NoInstant: true})
		})
		b.Run(name+"/cache", func(b *testing.B) {
			pool, err := balancer.New(balancer.Backends("http://"+l.Addr().String()), balancer.Options{Logger: slog.New(slog.DiscardHandler)})
			if err != nil {
				b.Fatal(err)
			}
			defer pool.Close()
			c, err := cache.New(cache.Options{IgnoreCookies: []string{"_ga", "_fbp"}, Logger: slog.New(slog.DiscardHandler)})
			if err != nil {
				b.Fatal(err)
			}
			defer c.Close()
			chain(b, fields, c.Handler(pool), edge.Options{})
		})
	}
}
