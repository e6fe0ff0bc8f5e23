package shop_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"

	"github.com/foretier/foretier/cache"
	"github.com/foretier/foretier/cache/shop"
)

func Example() {
	magento := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { // any handler, a pool as a rule
		w.Header().Set("Cache-Control", "public, max-age=86400, s-maxage=86400")
		w.Header().Set("X-Magento-Tags", "cat_p_1,FPC")
	})
	pages, err := cache.New(cache.Options{Rules: shop.Magento()})
	if err != nil {
		panic(err)
	}
	defer pages.Close()
	purge, err := pages.PurgeHandler([]netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")})
	if err != nil {
		panic(err)
	}
	pages.Handler(magento).ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "http://shop.example/shirt.html", nil))

	// As Magento does once the product has changed:
	r := httptest.NewRequest("PURGE", "http://tier.internal/", nil)
	r.RemoteAddr = "10.0.0.11:40000"
	r.Header.Set("X-Magento-Tags-Pattern", "((^|,)cat_p_1(,|$))")
	w := httptest.NewRecorder()
	purge.ServeHTTP(w, r)
	fmt.Print(w.Body)
	// Output: 200 purged at 1, responses: 1
}
