package cache_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
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
		Verdict: func(_ *http.Request, _ cache.Head, v cache.Verdict) cache.Verdict {
			if v.Store && !v.Stated {
				v.Fresh = time.Minute
			}
			return v
		},
	}
}
