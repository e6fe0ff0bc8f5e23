// Package cachetest proves caching policy in virtual time: what is served after
// a purge, half an hour after the backend has died. It takes no time, no
// sockets and no real backend. Package edgetest adds what stands in front of a cache.
//
//	func TestPriceChangeWhileTheBackendIsDown(t *testing.T) {
//		synctest.Test(t, func(t *testing.T) {
//			origin := new(cachetest.Origin)
//			origin.Set("/product/42", "10 €", "Cache-Control: max-age=3600", "Cache-Tag: product-42")
//			pages, front := cachetest.Open(t, cache.Options{Rules: myRules}, origin)
//			cachetest.Get(t, front, "http://shop.example/product/42").Want(t, 200, "10 €", "miss")
//
//			origin.Set("/product/42", "12 €", "Cache-Control: max-age=3600")
//			origin.Die()
//			pages.Invalidate(t.Context(), cache.Invalidation{Tags: []string{"product-42"}})
//			time.Sleep(30 * time.Minute)
//			cachetest.Get(t, front, "http://shop.example/product/42").Want(t, 200, "10 €", "stale")
//		})
//	}
//
// [Table] reads such a day like a page, of any method and from any address:
//
//	cachetest.Table(t, front,
//		cachetest.Row{Target: "/product/42", Body: "10 €", From: "miss"},
//		cachetest.Row{Method: "PURGE", Target: "/product/42", Client: "203.0.113.9", Status: 403},
//		cachetest.Row{Method: "PURGE", Target: "/product/42", Client: "10.0.0.7", Fields: []string{"Soft-Purge: 1"}, Status: 200},
//		cachetest.Row{Target: "/product/42", From: "stale"},
//		cachetest.Row{Do: origin.Die, After: 30 * time.Minute, Target: "/product/42", Body: "10 €", From: "stale"},
//	)
//
// A failure says what was wanted, what came, and how the cache explains it.
package cachetest

import (
	"io"
	"net/http"
	"net/textproto"
	"strings"
	"sync"
	"testing"

	"github.com/foretier/foretier/cache"
)

// An Origin is a backend that answers as a test tells it to. The zero value
// answers 404. Safe for concurrent use.
type Origin struct {
	mu    sync.Mutex
	pages map[string]page // guarded by mu
	calls map[string]int  // guarded by mu
	dead  bool            // guarded by mu
	sick  bool            // guarded by mu
}

type page struct {
	body   string
	header http.Header
}

// Set makes path, with its query, answer 200 with a body and the fields given,
// "Name: value" each.
func (o *Origin) Set(path, body string, fields ...string) {
	header := make(http.Header)
	for _, field := range fields {
		name, value, _ := strings.Cut(field, ":")
		header.Add(name, textproto.TrimString(value))
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.pages == nil {
		o.pages = make(map[string]page)
	}
	o.pages[path] = page{body, header}
}

// Die makes every request fail as with a server that closes the connection,
// and the origin report that it is sick, as a pool does.
func (o *Origin) Die() { o.state(true, true) }

// Stall makes every request fail, while the origin still passes for healthy.
func (o *Origin) Stall() { o.state(true, false) }

// Live makes the origin answer again.
func (o *Origin) Live() { o.state(false, false) }

func (o *Origin) state(dead, sick bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.dead, o.sick = dead, sick
}

// Calls returns how often path was asked for.
func (o *Origin) Calls(path string) int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.calls[path]
}

// Healthy is what the cache asks before it lengthens grace.
func (o *Origin) Healthy(*http.Request) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return !o.sick
}

// ServeHTTP implements [http.Handler].
func (o *Origin) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	o.mu.Lock()
	if o.calls == nil {
		o.calls = make(map[string]int)
	}
	o.calls[r.URL.RequestURI()]++
	p, ok := o.pages[r.URL.RequestURI()]
	dead := o.dead
	o.mu.Unlock()
	switch {
	case dead:
		panic(http.ErrAbortHandler)
	case !ok:
		http.NotFound(w, r)
		return
	}
	for name, values := range p.header {
		w.Header()[name] = values
	}
	_, _ = io.WriteString(w, p.body) // a test's client does not leave
}

// Open returns a cache, closed when the test ends, and the handler behind it.
func Open(tb testing.TB, opts cache.Options, next http.Handler) (*cache.Cache, http.Handler) {
	tb.Helper()
	c, err := cache.New(opts)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = c.Close() })
	return c, c.Handler(next)
}
