package fcgi

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/foretier/foretier/balancer"
	"github.com/foretier/foretier/internal/testkit"
)

// BenchmarkPage is a page of 1 KiB of a server in this process, whose part is in it.
func BenchmarkPage(b *testing.B) {
	answer := stdout("Content-Type: text/html; charset=UTF-8\r\nX-Powered-By: PHP\r\n\r\n"+strings.Repeat("p", 1<<10)) + end
	f := newFake(b, func(r *taken) {
		if _, err := r.body(); err == nil {
			io.WriteString(r, answer)
		}
	})
	root := testkit.Tree(b, map[string]string{"index.php": ""})
	_, pool := poolOf(b, root, Options{}, balancer.Options{}, f.url())
	r := httptest.NewRequest("GET", "http://shop.example/product/1?a=b", nil)
	r.Header = http.Header{"User-Agent": {"Mozilla/5.0"}, "Accept": {"text/html"}, "Cookie": {"a=1; b=2"}, "Accept-Encoding": {"gzip"}, "Accept-Language": {"de"}}
	b.ReportAllocs()
	for b.Loop() {
		w := httptest.NewRecorder()
		pool.ServeHTTP(w, r)
		if w.Body.Len() != 1<<10 {
			b.Fatal(w.Code, w.Body.Len())
		}
	}
}

// BenchmarkFind is what a path costs before it is sent.
func BenchmarkFind(b *testing.B) {
	site, err := New(testkit.Tree(b, map[string]string{"index.php": "", "wp-admin/admin-ajax.php": ""}), Options{})
	if err != nil {
		b.Fatal(err)
	}
	for _, path := range []string{"/product/1", "/wp-admin/admin-ajax.php"} {
		b.Run(path, func(b *testing.B) {
			u := httptest.NewRequest("GET", path, nil).URL
			b.ReportAllocs()
			for b.Loop() {
				site.findNow(u)
			}
		})
	}
}

func BenchmarkParams(b *testing.B) {
	r := httptest.NewRequest("GET", "http://shop.example/product/1?a=b", nil)
	r.Header = http.Header{"User-Agent": {"Mozilla/5.0"}, "Accept": {"text/html"}, "Cookie": {"a=1; b=2"}, "Accept-Encoding": {"gzip"}, "Accept-Language": {"de"}}
	buf := make([]byte, 0, bufferSize)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := appendParams(buf, r, found{script: "/index.php"}, "/var/www/shop"); err != nil {
			b.Fatal(err)
		}
	}
}
