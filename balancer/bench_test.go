package balancer

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/foretier/foretier/balancer/internal/pool"
	"github.com/foretier/foretier/internal/testkit"
	"github.com/foretier/foretier/internal/transit"
)

func many(n int) []Backend {
	var urls []string
	for i := range n {
		urls = append(urls, fmt.Sprintf("http://10.0.%d.%d:8080", i/250, i%250))
	}
	return Backends(urls...)
}

func BenchmarkPick(b *testing.B) {
	for _, n := range []int{4, 16, 1000} {
		for name, policy := range map[string]Policy{"adaptive": Adaptive(), "least": LeastInFlight(), "turns": RoundRobin(), "hash": Hash(nil, 0)} {
			b.Run(fmt.Sprintf("%s/%d", name, n), func(b *testing.B) {
				p := newPool(b, many(n), Options{Policy: policy})
				c := Candidates{pool.Candidates{Now: time.Now(), List: p.view.Snap.Load().Use, Snap: p.view.Snap.Load()}}
				b.ReportAllocs()
				for b.Loop() {
					policy.Pick(PickInfo{Now: c.of.Now, Rand: rand.Uint64(), Key: 1}, c)
				}
			})
		}
	}
}

func BenchmarkUpdate1000(b *testing.B) {
	p := newPool(b, many(1000), Options{})
	backends := many(1000)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		backends[0].Weight = i%2 + 1
		if err := p.Update(backends); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkProxy compares the pool with the standard library's proxy and
// transport, and with itself under the standard library's proxy, a small page over
// loopback.
func BenchmarkProxy(b *testing.B) { benchmarkProxy(b, 4<<10) }

// BenchmarkProxyHeld does so with a page that does not come at once, and is held
// until it is whole.
func BenchmarkProxyHeld(b *testing.B) { benchmarkProxy(b, 60<<10) }

func benchmarkProxy(b *testing.B, size int) {
	page := make([]byte, size)
	back := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = w.Write(page)
	}))
	defer back.Close()
	u, err := url.Parse(back.URL)
	if err != nil {
		b.Fatal(err)
	}
	bare := &httputil.ReverseProxy{
		Rewrite: func(pr *httputil.ProxyRequest) {
			pr.SetURL(u)
			pr.Out.Host = pr.In.Host
			pr.SetXForwarded()
		},
		BufferPool: &buffers,
	}
	bare.Transport = &http.Transport{MaxIdleConnsPerHost: 64, DisableCompression: true}
	standard := newPool(b, Backends(back.URL), Options{})
	standard.standard = true
	for name, h := range map[string]http.Handler{"bare": bare, "pool": newPool(b, Backends(back.URL), Options{}), "standard": standard} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				r := httptest.NewRequest("GET", "http://shop.example/product/7?color=red", nil)
				r.Header.Set("Accept", "text/html")
				r.Header.Set("User-Agent", "bench")
				w := &sink{header: make(http.Header)}
				h.ServeHTTP(w, r)
				if w.n != len(page) {
					b.Fatalf("got %d bytes", w.n)
				}
			}
		})
	}
}

// BenchmarkRoundTrip is what the pool itself takes of a request, with and without
// a limit.
func BenchmarkRoundTrip(b *testing.B) {
	answer := roundTrip(func(r *http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: 200, Header: http.Header{}, Body: http.NoBody, Request: r}, nil
	})
	backends, way := ways(answer, answer, answer, answer)
	for name, limit := range map[string]Limits{"unlimited": {}, "limited": {InFlight: 100, Streams: 1000}} {
		b.Run(name, func(b *testing.B) {
			p := newPool(b, backends, Options{Limits: limit, Transport: way})
			r := httptest.NewRequest("GET", "http://shop.example/product/7?color=red", nil)
			ctx, rec := transit.With(r.Context())
			rec.Client = netip.MustParseAddr("192.0.2.1") // as behind an edge
			r = r.WithContext(ctx)
			b.ReportAllocs()
			for b.Loop() {
				res, err := p.RoundTrip(r)
				if err != nil {
					b.Fatal(err)
				}
				_ = res.Body.Close()
			}
		})
	}
}

type sink struct {
	header http.Header
	n      int
}

func (s *sink) Header() http.Header { return s.header }
func (s *sink) WriteHeader(int)     {}
func (s *sink) Write(p []byte) (int, error) {
	s.n += len(p)
	return len(p), nil
}
func (s *sink) ReadFrom(r io.Reader) (int64, error) {
	n, err := io.Copy(io.Discard, r)
	s.n += int(n)
	return n, err
}

// BenchmarkWays compares the pool's own way with that by ReverseProxy, as behind an
// edge, a page of 1 KiB from a backend that does next to nothing.
func BenchmarkWays(b *testing.B) {
	page := []byte("HTTP/1.1 200 OK\r\nServer: s\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\nContent-Type: text/html\r\nContent-Length: 1024\r\nCache-Control: no-store\r\n\r\n" + strings.Repeat("x", 1024))
	addr := testkit.Backend(b, func(c net.Conn) {
		p := make([]byte, 4<<10)
		for {
			if _, err := c.Read(p); err != nil { // a request is one write
				return
			}
			if _, err := c.Write(page); err != nil {
				return
			}
		}
	})
	own, standard := newPool(b, Backends("http://"+addr), Options{}), newPool(b, Backends("http://"+addr), Options{})
	standard.standard = true
	for name, p := range map[string]*Pool{"own": own, "standard": standard} {
		b.Run(name, func(b *testing.B) {
			r := httptest.NewRequest("GET", "http://shop.example:8080/product/7?color=red", nil)
			r.Header.Set("Accept", "text/html")
			r.Header.Set("User-Agent", "bench")
			ctx, rec := transit.With(b.Context())
			rec.Client, rec.Vetted = netip.MustParseAddr("192.0.2.1"), true
			visitor := rec.Visitor
			r = r.WithContext(ctx)
			w := &sink{header: make(http.Header)}
			b.ReportAllocs()
			for b.Loop() {
				*rec = transit.Record{Visitor: visitor}
				w.n = 0
				clear(w.header)
				if p.ServeHTTP(w, r); w.n != 1024 {
					b.Fatalf("got %d bytes", w.n)
				}
			}
		})
	}
}
