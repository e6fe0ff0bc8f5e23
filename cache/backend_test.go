package cache

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"sync/atomic"
	"testing"
)

// backend answers with its count, and whatever header the test gives.
type backend struct {
	calls  atomic.Int32
	header http.Header
	answer func(w http.ResponseWriter, r *http.Request, n int)
	sick   atomic.Bool
}

func (b *backend) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	n := int(b.calls.Add(1))
	for name, values := range b.header {
		w.Header()[name] = values
	}
	if b.answer != nil {
		b.answer(w, r, n)
		return
	}
	fmt.Fprintf(w, "answer %d", n)
}

func (b *backend) Healthy(*http.Request) bool { return !b.sick.Load() }

func control(value string) http.Header { return http.Header{"Cache-Control": {value}} }

// open returns the backend behind a cache that ends with the test.
func open(t testing.TB, opts Options, b http.Handler) (*Cache, http.Handler) {
	t.Helper()
	c, err := New(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c, c.Handler(b)
}

// get asks h; header are name, value pairs.
func get(h http.Handler, url string, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest("GET", url, nil)
	for i := 0; i < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	return do(h, r)
}

func do(h http.Handler, r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func want(t *testing.T, w *httptest.ResponseRecorder, status int, body string) {
	t.Helper()
	if w.Code != status || w.Body.String() != body {
		t.Errorf("got %d %q, want %d %q (%v)", w.Code, w.Body, status, body, w.Header())
	}
}

// everybody's orders are obeyed.
var everybody = []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")}
