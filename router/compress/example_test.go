package compress_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/foretier/foretier/router"
	"github.com/foretier/foretier/router/compress"
)

func Example() {
	apps := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = io.WriteString(w, strings.Repeat("<p>a page of a shop</p>\n", 100))
	})
	zip, err := compress.New(compress.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	front, err := router.New(router.Options{}, router.Rule{Name: "shop", To: zip.Handler(apps)})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, cookie := range []string{"", "PHPSESSID=1"} { // whose pages are left as they are
		r := httptest.NewRequest("GET", "http://shop.example/", nil)
		r.Header.Set("Accept-Encoding", "gzip, deflate, br, zstd")
		r.Header.Set("Cookie", cookie)
		w := httptest.NewRecorder()
		front.ServeHTTP(w, r)
		fmt.Printf("%q %t\n", w.Header().Get("Content-Encoding"), w.Body.Len() < 200)
	}
	// Output:
	// "zstd" true
	// "" false
}
