package balancer

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
)

// BenchmarkHTTP2 compares the pool's own connections of HTTP/2 with net/http's, a small page
// from a backend in this process, asked for by several at once.
func BenchmarkHTTP2(b *testing.B) {
	page := make([]byte, 4<<10)
	back := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = w.Write(page)
	}))
	back.Config.Protocols = new(http.Protocols)
	back.Config.Protocols.SetUnencryptedHTTP2(true)
	back.Start()
	defer back.Close()
	for name, way := range map[string]struct {
		scheme    string
		transport func(Backend) http.RoundTripper
	}{"own": {"h2c", nil}, "net-http": {"http", usersHTTP2}} {
		b.Run(name, func(b *testing.B) {
			p := newPool(b, Backends(strings.Replace(back.URL, "http", way.scheme, 1)), Options{Transport: way.transport})
			b.ReportAllocs()
			const at = 8 // once
			var wg sync.WaitGroup
			asked := make(chan struct{}, at)
			for range at {
				wg.Go(func() {
					for range asked {
						w := httptest.NewRecorder()
						if p.ServeHTTP(w, httptest.NewRequest("GET", "/page", nil)); w.Code != 200 || w.Body.Len() != len(page) {
							b.Error(w.Code, w.Body.Len())
						}
					}
				})
			}
			for b.Loop() {
				asked <- struct{}{}
			}
			close(asked)
			wg.Wait()
		})
	}
}
