package cache_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"testing"

	"github.com/foretier/foretier/balancer"
	"github.com/foretier/foretier/cache"
)

// TestVaryOnWhatTheTierWrites: the cache sees requests before the pool says who
// asks, so what varies on that is nobody else's.
func TestVaryOnWhatTheTierWrites(t *testing.T) {
	for name, shared := range map[string]bool{
		"X-Forwarded-For": false, "Forwarded": false, "accept, forwarded": false, "X-Country": false, "X-Request-Id": false, "Via": false,
		"X-Forwarded-Proto": true, "X-Forwarded-Host, Host": true, "X-Forwarded-Port": true, "User-Agent": true, "Accept-Encoding, Cookie": true,
	} {
		t.Run(name, func(t *testing.T) {
			asked := 0
			origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				asked++
				w.Header().Set("Cache-Control", "public, max-age=60")
				w.Header().Set("Vary", name)
				fmt.Fprint(w, r.Header.Get("X-Forwarded-For"), " ", r.Header.Get("X-Country"))
			}))
			defer origin.Close()
			pool, err := balancer.New(balancer.Backends(origin.URL), balancer.Options{Rewrite: func(pr *httputil.ProxyRequest) {
				pr.Out.Header.Set("X-Country", "country of "+pr.In.RemoteAddr)
			}})
			if err != nil {
				t.Fatal(err)
			}
			defer pool.Close()
			pages, err := cache.New(cache.Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer pages.Close()
			h := pages.Handler(pool)
			for i := range 3 {
				for _, agent := range []string{"", "curl/8"} {
					r := httptest.NewRequest("GET", "http://a.example/", nil)
					r.RemoteAddr = fmt.Sprintf("192.0.2.%d:1", i)
					if agent != "" {
						r.Header.Set("User-Agent", agent)
					}
					w := httptest.NewRecorder()
					h.ServeHTTP(w, r)
					if want := fmt.Sprintf("192.0.2.%d country of 192.0.2.%d:1", i, i); !shared && w.Body.String() != want {
						t.Errorf("got %q, want %q", w.Body, want)
					}
				}
			}
			if want := map[bool]int{false: 6, true: 1}[shared]; asked != want && !(name == "User-Agent" && asked == 2) {
				t.Errorf("asked %d times, want %d", asked, want)
			}
		})
	}
}
