package cachetest_test

import (
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/foretier/foretier/cache"
	"github.com/foretier/foretier/cache/cachetest"
)

// shop returns a page, and a front where the office may purge.
func shop(t *testing.T) (*cachetest.Origin, http.Handler) {
	origin := new(cachetest.Origin)
	origin.Set("/product/42", "10 €", "Cache-Control: max-age=3600", "Cache-Tag: product-42")
	pages, front := cachetest.Open(t, cache.Options{}, origin)
	purge, err := pages.PurgeHandler([]netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")})
	if err != nil {
		t.Fatal(err)
	}
	return origin, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if slices.Contains(cache.PurgeMethods(), r.Method) {
			purge.ServeHTTP(w, r)
			return
		}
		front.ServeHTTP(w, r)
	})
}

func TestTable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		origin, front := shop(t)
		soft := []string{"Soft-Purge: 1"}
		cachetest.Table(t, front,
			cachetest.Row{Target: "/product/42", Body: "10 €", From: "miss", CacheStatus: "fwd=uri-miss"},
			cachetest.Row{Target: "/product/42", Body: "10 €", From: "hit", Has: []string{"Age: 0", "!Set-Cookie"}},
			cachetest.Row{Method: "HEAD", Target: "/product/42", Status: 200, From: "hit"},
			cachetest.Row{Method: "PURGE", Target: "/product/42", Client: "203.0.113.9", Fields: soft, Status: 403, From: "nowhere"},
			cachetest.Row{Method: "PURGE", Target: "/product/42", Client: "10.0.0.7", Peer: "192.0.2.9", Fields: soft, Status: 403}, // nobody here trusts the peer
			cachetest.Row{Method: "PURGE", Target: "/product/42", Client: "10.0.0.7", Fields: soft, Status: 200, Body: "responses: 1"},
			cachetest.Row{Do: origin.Die, Target: "/product/42", Body: "10 €", From: "stale"}, // at once
			cachetest.Row{After: 30 * time.Minute, Target: "/product/42", Body: "10 €", From: "stale", CacheStatus: "ttl=-1800"},
			cachetest.Row{Do: origin.Live, After: time.Minute, Target: "/product/42", From: "miss", CacheStatus: "fwd=stale"}, // its grace is over
			cachetest.Row{Target: "/product/42", From: "hit"},
			cachetest.Row{Method: "POST", Target: "/product/42", Send: "qty=1", Status: 200, From: "pass"},
			cachetest.Row{Target: "/product/42", From: "miss"}, // what has changed is asked for anew
			cachetest.Row{Method: "BAN", Target: "/", Client: "10.0.0.7", Fields: []string{"Cache-Tag: product-42"}, Status: 200, Body: "responses: 1"},
			cachetest.Row{Method: "FOO", Target: "/product/42", From: "pass"},
			cachetest.Row{Target: "https://shop.example/product/42", From: "miss"}, // another page than that of http
			cachetest.Row{Target: "https://shop.example/product/42", From: "hit"},
			cachetest.Row{Do: origin.Die, Target: "/other", Broken: true},
		)
	})
}

// A page that a soft purge has just made stale says so, at once as after a while.
func TestRightAfterASoftPurgeItIsStale(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		origin := new(cachetest.Origin)
		origin.Set("/product/42", "10 €", "Cache-Control: max-age=3600")
		pages, front := cachetest.Open(t, cache.Options{}, origin)
		cachetest.Get(t, front, url).Want(t, 200, "10 €", "miss")
		if _, err := pages.Invalidate(t.Context(), cache.Invalidation{All: true}); err != nil {
			t.Fatal(err)
		}
		cachetest.Get(t, front, url).Want(t, 200, "10 €", "stale")
	})
}

// A spy is a testing.TB that remembers what failed.
type spy struct {
	testing.TB
	failures []string
}

func (s *spy) Helper()           {}
func (s *spy) Error(args ...any) { s.failures = append(s.failures, fmt.Sprint(args...)) }
func (s *spy) Errorf(format string, args ...any) {
	s.failures = append(s.failures, fmt.Sprintf(format, args...))
}

// A failure is read by somebody who has not written the cache.
func TestFailuresSayWhatAndWhy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		origin, front := shop(t)
		cached := func() http.Handler { _, h := cachetest.Open(t, cache.Options{}, origin); return h }
		cases := map[string]struct {
			front http.Handler
			row   cachetest.Row
			says  []string
		}{
			"from": {cached(), cachetest.Row{Target: "/product/42", From: "hit"}, []string{
				"row 1: GET http://shop.example/product/42\n", "\tfrom: got miss, want hit\n", "\tCache-Status: ", "because cache: miss (nothing stored matches)",
			}},
			"no such": {cached(), cachetest.Row{Target: "/product/42", From: "cached"}, []string{"want one of hit, stale, miss"}},
			"all else": {front, cachetest.Row{Method: "PURGE", Target: "/product/42", Client: "203.0.113.9", Peer: "192.0.2.7", Status: 200, Body: "purged", Has: []string{"Vary: Cookie"}}, []string{
				"PURGE http://shop.example/product/42 from 203.0.113.9 by way of 192.0.2.7\n", "status: got 403 Forbidden, want 200 OK", "body: got \"403", "Vary: got no such field", "Cache-Status: none",
			}},
			"status":     {cached(), cachetest.Row{Target: "/product/42", CacheStatus: "hit; ttl="}, []string{`want "hit; ttl=" in it`}},
			"broken off": {cached(), cachetest.Row{Target: "/product/42", Broken: true}, []string{"want a connection that breaks off"}},
			"breaks off": {cached(), cachetest.Row{Do: origin.Die, Target: "/new", From: "miss"}, []string{"the connection broke off"}},
			"no request": {front, cachetest.Row{Target: "/", Client: "office"}, []string{"row 1:", `client "office" is no address`}},
		}
		for name, c := range cases {
			origin.Live()
			s := &spy{TB: t}
			cachetest.Table(s, c.front, c.row)
			if len(s.failures) != 1 {
				t.Errorf("%s: %d failures: %q", name, len(s.failures), s.failures)
				continue
			}
			for _, want := range c.says {
				if !strings.Contains(s.failures[0], want) {
					t.Errorf("%s: %q is not in\n%s", name, want, s.failures[0])
				}
			}
		}
		s := &spy{TB: t}
		cachetest.Get(t, cached(), url).Want(s, 200, "12 €", "hit")
		if len(s.failures) != 1 || !strings.Contains(s.failures[0], "because cache: miss") {
			t.Errorf("%q", s.failures)
		}
	})
}
