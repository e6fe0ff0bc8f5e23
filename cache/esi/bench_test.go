package esi_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/foretier/foretier/cache"
	"github.com/foretier/foretier/cache/esi"
	"github.com/foretier/foretier/internal/transit"
)

// A hole takes everything and remembers nothing.
type hole struct{ h http.Header }

func (h hole) Header() http.Header         { return h.h }
func (h hole) Write(b []byte) (int, error) { return len(b), nil }
func (h hole) WriteHeader(int)             {}

// browser returns a request as a browser sends it and an edge hands it down.
func browser() *http.Request {
	r := httptest.NewRequest("GET", "http://shop.example/page", nil)
	for _, name := range []string{"User-Agent", "Accept", "Accept-Language", "Accept-Encoding", "Referer", "Upgrade-Insecure-Requests", "Sec-Fetch-Dest", "Sec-Fetch-Mode", "Sec-Fetch-Site", "X-Request-Id"} {
		r.Header.Set(name, "x")
	}
	ctx, _ := transit.With(context.Background())
	return r.WithContext(ctx)
}

// BenchmarkPassing is a hit of 64 KiB in a cache that is no ESI, with the processor
// above and without.
func BenchmarkPassing(b *testing.B) {
	page := []byte(strings.Repeat("x", 64<<10))
	pages := must(cache.New(cache.Options{}))
	defer pages.Close()
	bare := pages.Handler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Cache-Control", "max-age=3600")
		w.Write(page)
	}))
	for name, h := range map[string]http.Handler{"without": bare, "with": must(esi.New(esi.Options{})).Handler(bare)} {
		b.Run(name, func(b *testing.B) {
			r, w := browser(), hole{make(http.Header)}
			b.ReportAllocs()
			for b.Loop() {
				clear(w.h)
				h.ServeHTTP(w, r)
			}
		})
	}
}

// BenchmarkComposing is a page of 64 KiB with some fragments, all of them hits.
func BenchmarkComposing(b *testing.B) {
	for _, n := range []int{0, 1, 8} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			page := []byte(strings.Repeat("<p>0123456789</p>", 4<<10) + strings.Repeat(`<esi:include src="/menu"/>`, n))
			pages := must(cache.New(cache.Options{}))
			defer pages.Close()
			h := must(esi.New(esi.Options{})).Handler(pages.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Cache-Control", "max-age=3600")
				if r.URL.Path == "/page" {
					w.Header().Set("Surrogate-Control", `content="ESI/1.0"`)
					w.Write(page)
				}
				w.Write(page[:4<<10])
			})))
			r, w := browser(), hole{make(http.Header)}
			b.ReportAllocs()
			for b.Loop() {
				clear(w.h)
				h.ServeHTTP(w, r)
			}
		})
	}
}
