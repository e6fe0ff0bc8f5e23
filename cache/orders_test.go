package cache

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"
)

// TestOrdersOfVisitors: a reload buys no backend's work and replaces no page,
// but for those who may say so.
func TestOrdersOfVisitors(t *testing.T) {
	orders := [][]string{
		{"Cache-Control", "no-cache"}, {"Cache-Control", "max-age=0"}, {"Cache-Control", "NO-CACHE, max-age=0"}, {"Pragma", "no-cache"},
		{"Cache-Control", "only-if-cached"}, {"Cache-Control", "min-fresh=3600"}, {"Cache-Control", "no-store"}, {"Cache-Control", "max-stale"},
	}
	for _, order := range orders {
		synctest.Test(t, func(t *testing.T) {
			b := &backend{header: control("max-age=60, stale-while-revalidate=30"), answer: func(w http.ResponseWriter, r *http.Request, n int) {
				fmt.Fprintf(w, "%d %s%s", n, r.Header.Get("Cache-Control"), r.Header.Get("Pragma"))
			}}
			_, h := open(t, Options{Orders: []netip.Prefix{netip.MustParsePrefix("::ffff:192.0.2.0/120")}}, b)
			ask := func(from string) *httptest.ResponseRecorder {
				r := httptest.NewRequest("GET", "http://a.example/", nil)
				r.RemoteAddr = from + ":1"
				r.Header.Set(order[0], order[1])
				return do(h, r)
			}
			want(t, ask("203.0.113.1"), 200, "1 ")
			if order[1] != "no-store" { // it keeps its own answer out
				want(t, get(h, "http://a.example/"), 200, "1 ")
			}
			b.answer = nil
			page := get(h, "http://a.example/").Body.String()
			want(t, ask("203.0.113.1"), 200, page)
			calls := b.calls.Load()
			time.Sleep(time.Second)
			switch order[1] {
			case "only-if-cached", "no-store", "max-stale": // what is fresh will do
				want(t, ask("192.0.2.1"), 200, page)
			default:
				ask("192.0.2.1")
				if b.calls.Load() != calls+1 {
					t.Errorf("%s: not obeyed", order)
				}
			}
			time.Sleep(120 * time.Second) // past it
			calls = b.calls.Load()
			want(t, ask("203.0.113.1"), 200, fmt.Sprint("answer ", calls+1))
		})
	}
}

func TestOnlyIfCached(t *testing.T) {
	b := &backend{header: control("max-age=10")}
	_, h := open(t, Options{Orders: everybody}, b)
	if w := get(h, "http://a.example/", "Cache-Control", "only-if-cached"); w.Code != 504 || b.calls.Load() != 0 {
		t.Errorf("got %d", w.Code)
	}
	get(h, "http://a.example/")
	want(t, get(h, "http://a.example/", "Cache-Control", "only-if-cached"), 200, "answer 1")
}
