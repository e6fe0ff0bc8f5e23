package codings_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/foretier/foretier/cache"
	"github.com/foretier/foretier/cache/codings"
)

func Example() {
	apps := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		w.Header().Set("Cache-Control", "max-age=60")
		_, _ = io.WriteString(w, strings.Repeat("<p>a page of a shop</p>\n", 100))
	})
	pages, err := cache.New(cache.Options{Compress: codings.All()})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer pages.Close()
	front := pages.Handler(apps)
	for range 100 { // it is compressed behind the visitors' backs, so the first get it as it is
		r := httptest.NewRequest("GET", "http://shop.example/", nil)
		r.Header.Set("Accept-Encoding", "gzip, deflate, br, zstd")
		w := httptest.NewRecorder()
		front.ServeHTTP(w, r)
		if coding := w.Header().Get("Content-Encoding"); coding != "" {
			fmt.Println(coding, w.Body.Len() < 100)
			return
		}
		time.Sleep(50 * time.Millisecond) // no test: nothing says when a form is there
	}
	// Output: br true
}
