package cache_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"time"

	"github.com/foretier/foretier/cache"
)

// Who may purge: the shop's own servers. A deploy purges the whole of a host, a changed
// product what depends on it, and softly what may be served until it is there anew.
func ExampleCache_PurgeHandler() {
	pages, err := cache.New(cache.Options{})
	if err != nil {
		panic(err)
	}
	defer pages.Close()
	front := pages.Handler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Cache-Control", "max-age=3600")
		w.Header().Set("Cache-Tag", "product-42, category-7")
	}))
	purge, err := pages.PurgeHandler([]netip.Prefix{netip.MustParsePrefix("10.0.0.0/24")})
	if err != nil {
		panic(err)
	}
	for _, path := range []string{"/product/42", "/category/7"} {
		front.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "http://shop.example"+path, nil))
	}
	send := func(client, method, path string, fields ...string) {
		r := httptest.NewRequest(method, "http://shop.example"+path, nil)
		r.RemoteAddr = client + ":1024"
		for i := 0; i < len(fields); i += 2 {
			r.Header.Set(fields[i], fields[i+1])
		}
		w := httptest.NewRecorder()
		purge.ServeHTTP(w, r)
		fmt.Print(w.Body)
	}
	send("10.0.0.11", "PURGE", "/product/42", "Soft-Purge", "1")
	send("10.0.0.11", "BAN", "/", "Cache-Tag", "category-7")
	send("203.0.113.9", "PURGE", "/product/42")
	// Output:
	// 200 purged at 1, responses: 1
	// 200 purged at 2, responses: 2
	// 403 Forbidden
}

// What a shop does not say: how long errors and redirects are fresh, how long a page may
// be served while it is fetched, and while the shop is down, and which cookies mean
// nothing.
func ExampleOptions() {
	pages, err := cache.New(cache.Options{
		MaxBytes:      1 << 30,
		Grace:         30 * time.Second,
		ErrorGrace:    48 * time.Hour,
		Lifetimes:     map[int]time.Duration{404: 10 * time.Second, 301: time.Hour},
		IgnoreCookies: append(cache.Analytics(), "theme"),
	})
	if err != nil {
		panic(err)
	}
	defer pages.Close()
	front := pages.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/new", http.StatusMovedPermanently) }))
	for range 2 {
		r := httptest.NewRequest("GET", "http://shop.example/old", nil)
		r.AddCookie(&http.Cookie{Name: "_ga", Value: "GA1.1.1"})
		w := httptest.NewRecorder()
		front.ServeHTTP(w, r)
		fmt.Println(w.Code, w.Header().Get("Cache-Status"))
	}
	// Output:
	// 301 Foretier; fwd=uri-miss; fwd-status=301; stored
	// 301 Foretier; hit; ttl=3599
}
