package cache_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"time"

	"github.com/foretier/foretier/cache"
)

func Example() {
	price := "10 €"
	shop := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		cache.Depends(r.Context(), "product:42") // where the data is read
		w.Header().Set("Cache-Control", "max-age=3600")
		fmt.Fprint(w, price)
	})
	pages, err := cache.New(cache.Options{MaxBytes: 64 << 20})
	if err != nil {
		panic(err)
	}
	defer pages.Close()
	front := pages.Handler(shop)
	show := func() {
		w := httptest.NewRecorder()
		front.ServeHTTP(w, httptest.NewRequest("GET", "http://shop.example/product/42", nil))
		fmt.Println(w.Body, "-", w.Header().Get("Cache-Status"))
	}

	show()
	price = "12 €"
	show()
	// In the transaction that changed the price:
	if _, err := pages.Invalidate(context.Background(), cache.Invalidation{Tags: []string{"product:42"}, Hard: true}); err != nil {
		panic(err)
	}
	show()
	// Output:
	// 10 € - Foretier; fwd=uri-miss; fwd-status=200; stored
	// 10 € - Foretier; hit; ttl=3599
	// 12 € - Foretier; fwd=uri-miss; fwd-status=200; stored
}

// What was asked for most is there again after a restart. A snapshot that cannot be
// read is no reason not to start.
func ExampleCache_Load() {
	pages, err := cache.New(cache.Options{Rules: cache.Rules{Version: "2026-11"}})
	if err != nil {
		panic(err)
	}
	const path = "/var/lib/shop/pages"
	if _, err := pages.Load(context.Background(), path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		slog.Warn("the cache starts empty", "cause", err)
	}
	// ... pages.Run and a server of pages.Handler, until both have returned ...
	if _, err := pages.Save(context.Background(), path); err != nil {
		slog.Error("the cache will start empty", "cause", err)
	}
}

// The pages that most visitors begin with are stored before the first one comes.
func ExampleWarm() {
	pages, err := cache.New(cache.Options{})
	if err != nil {
		panic(err)
	}
	defer pages.Close()
	front := pages.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/cart" {
			w.Header().Set("Cache-Control", "private")
			return
		}
		w.Header().Set("Cache-Control", "max-age=3600")
		fmt.Fprint(w, "a page")
	}))
	urls := []string{"https://shop.example/", "https://shop.example/sale", "https://shop.example/cart"}
	done, err := cache.Warm(context.Background(), front, slices.Values(urls), cache.WarmOptions{})
	if err != nil {
		panic(err)
	}
	fmt.Println(done.Stored, "stored, not stored:", done.NotStored)
	// Output: 2 stored, not stored: map[private:1]
}

// A shop that states no lifetimes: a minute for whoever has no cart and is not
// logged in, whatever advertisers append to the URL.
func ExampleRules() {
	_ = cache.Rules{
		Plan: func(r *http.Request) cache.Plan {
			return cache.Plan{
				Pass:  cache.HasCookie(r, "cart", "login_*"),
				Why:   "has a cart or is logged in",
				Query: cache.Query{Drop: cache.Tracking()},
			}
		},
		Retention: func(_ *http.Request, _ cache.Head, v cache.Retention) cache.Retention {
			if v.Store && !v.Stated {
				v.Fresh = time.Minute
			}
			return v
		},
	}
}

// Pages of one layout for phones and one for the rest, which come with Vary:
// User-Agent, are stored twice and not once for every version of every browser.
func ExampleDevices() {
	rules := cache.Rules{Plan: func(r *http.Request) cache.Plan {
		return cache.Plan{Classes: cache.Devices(r)}
	}}
	pages, err := cache.New(cache.Options{Rules: rules})
	if err != nil {
		panic(err)
	}
	defer pages.Close()
	front := pages.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		w.Header().Set("Vary", "User-Agent")
		fmt.Fprint(w, "for ", cache.Devices(r)["User-Agent"])
	}))
	for _, agent := range []string{"Mozilla/5.0 (iPhone)", "Mozilla/5.0 (Linux; Android 16) Mobile", "Mozilla/5.0 (X11)"} {
		r := httptest.NewRequest("GET", "http://shop.example/", nil)
		r.Header.Set("User-Agent", agent)
		w := httptest.NewRecorder()
		front.ServeHTTP(w, r)
		fmt.Println(w.Body, w.Header().Get("Cache-Status"))
	}
	// Output:
	// for phone Foretier; fwd=uri-miss; fwd-status=200; stored
	// for phone Foretier; hit; ttl=59
	// for desktop Foretier; fwd=uri-miss; fwd-status=200; stored
}
