package esi_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/foretier/foretier/cache"
	"github.com/foretier/foretier/cache/esi"
)

func Example() {
	visits := 0
	shop := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/shirt":
			w.Header().Set("Cache-Control", "public, max-age=3600")
			w.Header().Set("Surrogate-Control", `content="ESI/1.0"`)
			fmt.Fprint(w, `A shirt. <esi:include src="/cart" onerror="continue"/>`)
		case "/cart":
			visits++
			w.Header().Set("Cache-Control", "private")
			fmt.Fprintf(w, "Your cart at visit %d.", visits)
		}
	})
	pages, err := cache.New(cache.Options{})
	if err != nil {
		panic(err)
	}
	defer pages.Close()
	processor, err := esi.New(esi.Options{})
	if err != nil {
		panic(err)
	}
	front := processor.Handler(pages.Handler(shop))

	for range 2 {
		w := httptest.NewRecorder()
		front.ServeHTTP(w, httptest.NewRequest("GET", "http://shop.example/shirt", nil))
		fmt.Println(w.Body, "-", w.Header().Get("Cache-Status"))
	}
	// Output:
	// A shirt. Your cart at visit 1. - Foretier; fwd=uri-miss; fwd-status=200; stored
	// A shirt. Your cart at visit 2. - Foretier; hit; ttl=3599
}

// Magento has ESI in its pages and does not say so.
func ExampleHTML() {
	magento := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=UTF-8")
		if r.URL.Path == "/" {
			fmt.Fprint(w, `<nav><esi:include src="http://shop.example/page_cache/block/esi/blocks/%5B%22catalog.topnav%22%5D/" /></nav>`)
		} else {
			fmt.Fprint(w, "Shirts, Trousers")
		}
	})
	processor, err := esi.New(esi.Options{Also: esi.HTML})
	if err != nil {
		panic(err)
	}
	w := httptest.NewRecorder()
	processor.Handler(magento).ServeHTTP(w, httptest.NewRequest("GET", "https://shop.example/", nil))
	fmt.Println(w.Body)
	// Output: <nav>Shirts, Trousers</nav>
}
