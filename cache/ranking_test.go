package cache_test

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/foretier/foretier/cache"
	"github.com/foretier/foretier/health"
)

// rankingOf returns what a cache tells that there was most of, as text.
func rankingOf(c *cache.Cache, name string) []string {
	var out []string
	for _, r := range c.Report().Rankings {
		if r.Name != name {
			continue
		}
		for _, i := range r.Items {
			out = append(out, strings.TrimSuffix(fmt.Sprint(i.Count, " ", i.Name, " ", i.Why), " "))
		}
	}
	return out
}

// TestMostFetched: what the backend is asked for most, and not what is served from store,
// nor anybody's query, and what is not stored most often, with the reason; of late.
func TestMostFetched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCache(t, cache.Options{Name: "pages"})
		h := c.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			switch r.URL.Path {
			case "/cart":
				w.Header().Set("Cache-Control", "no-store")
			case "/login":
				w.Header().Set("Set-Cookie", "sid=secret")
			default:
				w.Header().Set("Cache-Control", "max-age=60")
			}
			fmt.Fprint(w, "page")
		}))
		send := func(n int, method, url string) {
			for range n {
				h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(method, url, nil))
				synctest.Wait()
			}
		}
		send(9, "GET", "http://SHOP.example/a") // fetched once
		for i := range 5 {
			send(1, "GET", fmt.Sprintf("http://shop.example/search?token=secret%d", i))
		}
		send(4, "GET", "http://shop.example/cart")
		send(3, "POST", "http://shop.example/cart?id=secret")
		send(2, "GET", "http://shop.example/login?next=/")
		send(2, "GET", "http://shop.example/"+strings.Repeat("x", 300)+"?a") // at once: the second is served from store
		send(1, "GET", "http://shop.example/"+strings.Repeat("x", 300)+"?b")
		fetched := []string{"5 shop.example/search?...", "4 shop.example/cart", "3 shop.example/cart?...", "2 shop.example/login?...",
			"2 shop.example/" + strings.Repeat("x", 147) + "...?..."}
		if got := rankingOf(c, "most fetched"); !slices.Equal(got, fetched) {
			t.Errorf("got  %q\nwant %q", got, fetched)
		}
		if got := rankingOf(c, "most often not stored"); !slices.Equal(got, []string{"4 shop.example/cart no-store", "2 shop.example/login?... sets a cookie"}) {
			t.Errorf("not stored: %q", got)
		}
		if strings.Contains(fmt.Sprint(c.Report()), "secret") {
			t.Errorf("somebody's query is told: %+v", c.Report())
		}
		time.Sleep(16 * time.Minute)
		send(2, "GET", "http://shop.example/cart")
		if got := rankingOf(c, "most fetched"); len(got) == 0 || got[0] != "6 shop.example/cart" {
			t.Errorf("a window later: %q", got)
		}
		time.Sleep(16 * time.Minute)
		if got := rankingOf(c, "most fetched"); !slices.Equal(got, []string{"2 shop.example/cart"}) {
			t.Errorf("two windows later: %q", got)
		}
		time.Sleep(31 * time.Minute)
		if got := rankingOf(c, "most fetched"); got != nil {
			t.Errorf("after a while without requests: %q", got)
		}
	})
}

// TestMostFetchedOfMany: however many pages there are, those that come up most are found,
// none with more than it had, and no more is kept.
func TestMostFetchedOfMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCache(t, cache.Options{Name: "pages"})
		h := c.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.Header().Set("Cache-Control", "no-store") }))
		real := make(map[string]uint64)
		rnd := rand.New(rand.NewPCG(1, 2))
		for i := range 20_000 {
			path := fmt.Sprintf("/rare/%d", i)
			if rnd.IntN(3) == 0 {
				path = fmt.Sprintf("/often/%d", rnd.IntN(5))
			}
			real["shop.example"+path]++
			h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "http://shop.example"+path, nil))
		}
		for _, name := range []string{"most fetched", "most often not stored"} {
			var items []health.Ranked
			for _, r := range c.Report().Rankings {
				if r.Name == name {
					items = r.Items
				}
			}
			if len(items) < 5 || len(items) > 10 {
				t.Fatalf("%s: %+v", name, items)
			}
			for _, i := range items[:5] {
				if !strings.HasPrefix(i.Name, "shop.example/often/") || i.Count > real[i.Name] || i.Count < real[i.Name]*8/10 {
					t.Errorf("%s: %s %d, really %d", name, i.Name, i.Count, real[i.Name])
				}
			}
		}
	})
}
