package edge_test

import (
	"bufio"
	"bytes"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"
	"time"

	"github.com/foretier/foretier/internal/testkit"
	"github.com/foretier/foretier/router"
	"github.com/foretier/foretier/router/edge"
)

// BenchmarkServer compares a bare net/http server with edge and router before
// the same handler: the difference is what they cost a request. "logged" adds
// the rendering of the log line.
func BenchmarkServer(b *testing.B) {
	hello := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "hello") })
	front, err := router.New(router.Options{},
		router.Rule{Name: "admin", When: router.Admin("/admin"), To: hello},
		router.Rule{Name: "media", When: router.Path("/media/*"), To: hello},
		router.Rule{Name: "shop", To: hello},
	)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("bare", func(b *testing.B) {
		srv := httptest.NewServer(hello)
		defer srv.Close()
		askOverAndOver(b, srv.Listener.Addr().String())
	})
	b.Run("edge", func(b *testing.B) {
		srv := serve(b, front, edge.Options{NoAccessLog: true})
		askOverAndOver(b, srv.Addr().String())
	})
	b.Run("logged", func(b *testing.B) {
		srv := serve(b, front, edge.Options{Logger: slog.New(slog.NewJSONHandler(io.Discard, nil))})
		askOverAndOver(b, srv.Addr().String())
	})
}

// BenchmarkPage serves a page of 20 KiB by a bare net/http server and by edge,
// which hands it to the kernel as one piece.
func BenchmarkPage(b *testing.B) {
	body := bytes.Repeat([]byte("x"), 20<<10)
	page := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		_, _ = w.Write(body)
	})
	b.Run("bare", func(b *testing.B) {
		srv := httptest.NewServer(page)
		defer srv.Close()
		askOverAndOver(b, srv.Listener.Addr().String())
	})
	b.Run("edge", func(b *testing.B) {
		srv := serve(b, page, edge.Options{NoAccessLog: true})
		askOverAndOver(b, srv.Addr().String())
	})
}

// askOverAndOver sends one request after the other over one connection.
func askOverAndOver(b *testing.B, addr string) {
	c := testkit.Dial(b, addr)
	_ = c.SetDeadline(time.Time{}) // a benchmark may take its time
	defer c.Close()
	raw := []byte("GET /product/1 HTTP/1.1\r\nHost: shop.example\r\nUser-Agent: bench\r\nAccept: */*\r\nCookie: a=1\r\n\r\n")
	r := bufio.NewReader(c)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Write(raw); err != nil {
			b.Fatal(err)
		}
		res, err := http.ReadResponse(r, nil)
		if err != nil {
			b.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, res.Body)
	}
}

// BenchmarkHandler is the cost of edge and router alone, without a connection.
func BenchmarkHandler(b *testing.B) {
	hello := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
	front, err := router.New(router.Options{},
		router.Rule{Name: "admin", When: router.Admin("/admin"), To: hello},
		router.Rule{Name: "media", When: router.Path("/media/*"), To: hello},
		router.Rule{Name: "shop", To: hello},
	)
	if err != nil {
		b.Fatal(err)
	}
	for name, opts := range map[string]edge.Options{
		"quiet":  {NoAccessLog: true},
		"logged": {Logger: slog.New(slog.NewJSONHandler(io.Discard, nil))},
	} {
		b.Run(name, func(b *testing.B) {
			srv := serve(b, front, opts)
			r := httptest.NewRequest("GET", "/product/1", nil)
			r.Header = http.Header{"User-Agent": {"bench"}, "Accept": {"*/*"}, "Cookie": {"a=1"}, "Connection": {"keep-alive"}}
			w := httptest.NewRecorder()
			b.ReportAllocs()
			for b.Loop() {
				srv.ServeHTTP(w, r)
			}
		})
	}
}
