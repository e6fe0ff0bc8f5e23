package cache_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/foretier/foretier/cache"
	"github.com/foretier/foretier/cache/cachetest"
	"github.com/foretier/foretier/health"
)

var _ health.Actor = (*cache.Cache)(nil)

// tagged answers with pages that are tagged by their path.
func tagged(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "max-age=60")
	w.Header().Set("Cache-Tag", strings.Trim(r.URL.Path, "/"))
	fmt.Fprint(w, "page")
}

func newCache(t *testing.T, opts cache.Options) *cache.Cache {
	t.Helper()
	c, err := cache.New(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// TestAct does what a report says that it can be told, and refuses the rest with what
// would be right.
func TestAct(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCache(t, cache.Options{Name: "pages"})
		h := c.Handler(http.HandlerFunc(tagged))
		get := func(url string) string {
			w := httptest.NewRecorder()
			h.ServeHTTP(w, httptest.NewRequest("GET", url, nil))
			return w.Header().Get("Cache-Status")
		}
		verbs := c.Report().Verbs
		for _, o := range []struct{ verb, arg, event string }{
			{"purge url", "http://shop.example/a", "purge of the URL shop.example/a, responses: 1"},
			{"purge url", " https://shop.example/a?b=1,2 ", "purge of the URL shop.example/a?b=1,2, responses: 0"},
			{"purge tag", "a", "purge of the tag a, responses: 1"},
			{"purge tag", "x, a y", "purge of the tag x, a, y, responses: 1"},
			{"purge host", "SHOP.example", "purge of the host shop.example, responses: 2"},
			{"purge all", "", "purge of all, responses: 2"},
			{"soft purge url", "http://shop.example/a", "soft purge of the URL shop.example/a, responses: 1"},
			{"soft purge tag", "a", "soft purge of the tag a, responses: 1"},
			{"soft purge host", "shop.example", "soft purge of the host shop.example, responses: 2"},
			{"soft purge all", "", "soft purge of all, responses: 2"},
		} {
			for _, url := range []string{"http://shop.example/a", "http://shop.example/b"} {
				get(url)
				time.Sleep(time.Second) // what a soft purge has made stale is refreshed
				if s := get(url); !strings.Contains(s, "hit") {
					t.Fatalf("%s is not stored: %s", url, s)
				}
			}
			time.Sleep(time.Minute / 3) // so that each is told by itself, and nothing is old
			known := false
			for _, v := range verbs {
				known = known || v == o.verb
			}
			if err := c.Act(t.Context(), "pages", o.verb, o.arg); err != nil || !known {
				t.Errorf("%s %s: %v, listed: %t", o.verb, o.arg, err, known)
			}
			events := c.Report().Events
			if last := events[len(events)-1]; last.Text != o.event || !last.Time.Equal(time.Now()) {
				t.Errorf("%s %s: %+v, want %q", o.verb, o.arg, last, o.event)
			}
		}
		applied := len(c.Report().Events)
		for _, o := range []struct{ part, verb, arg, want string }{
			{"images", "purge all", "", "no part"},
			{"pages", "purge", "tag a", "want purge url, purge tag"},
			{"pages", "drain", "", "want purge url, purge tag"},
			{"pages", "purge url", "", "such as https://shop.example"},
			{"pages", "purge url", "http://a/ http://b/", "such as https://shop.example"},
			{"pages", "purge url", "/a", "not an absolute http URL"},
			{"pages", "purge url", "ftp://shop.example/a", "not an absolute http URL"},
			{"pages", "purge url", "http://shöp.example/", "xn--"},
			{"pages", "purge tag", " , ", "want tags"},
			{"pages", "purge tag", "product-*", "no pattern"},
			{"pages", "purge host", "", "such as shop.example"},
			{"pages", "purge host", "a b", "such as shop.example"},
			{"pages", "purge host", "http://shop.example", "want a host"},
			{"pages", "purge all", "shop.example", "no further word"},
		} {
			if err := c.Act(t.Context(), o.part, o.verb, o.arg); err == nil || !strings.Contains(err.Error(), o.want) {
				t.Errorf("%s %s %s: %v, want %q", o.part, o.verb, o.arg, err, o.want)
			}
		}
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		if err := c.Act(ended, "pages", "purge all", ""); err == nil {
			t.Error("whoever has gone has purged all")
		}
		if got := len(c.Report().Events); got != applied {
			t.Errorf("what was refused is told: %d events", got-applied)
		}
	})
}

// TestPurgesAreTold with who sent them: many of one kind as one, and no more than a page
// shows.
func TestPurgesAreTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCache(t, cache.Options{Name: "pages"})
		h := c.Handler(http.HandlerFunc(tagged))
		p, err := c.PurgeHandler([]netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")})
		if err != nil {
			t.Fatal(err)
		}
		send := func(h http.Handler, method, url string, field ...string) {
			r := httptest.NewRequest(method, url, nil) // from 192.0.2.1
			if len(field) > 0 {
				r.Header.Set(field[0], field[1])
			}
			h.ServeHTTP(httptest.NewRecorder(), r)
		}
		for i := range 30 {
			send(h, "GET", fmt.Sprintf("http://shop.example/product-%d", i))
		}
		send(p, "PURGE", "http://shop.example/product-0")
		for i := range 20 {
			send(p, "PURGE", "http://shop.example/", "Cache-Tag", fmt.Sprintf("product-%d", i+1))
		}
		send(p, "PURGE", "http://shop.example/", "Xkey-Softpurge", "product-25 "+strings.Repeat("x", 300))
		send(h, "POST", "http://shop.example/product-26") // as orders do, all the time
		var got []string
		for _, e := range c.Report().Events {
			got = append(got, e.Text)
		}
		want := []string{
			"purge of the URL shop.example/product-0 by 192.0.2.1, responses: 1",
			"purge of the tag product-1 and 19 more by 192.0.2.1, responses: 20",
			"soft purge of the tag product-25, " + strings.Repeat("x", 188) + "... by 192.0.2.1, responses: 1",
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("got  %q\nwant %q", got, want)
		}
		for range 100 {
			time.Sleep(time.Minute) // by the bubble's clock, as below
			send(p, "PURGE", "http://shop.example/a")
		}
		if n := len(c.Report().Events); n != 50 {
			t.Errorf("%d events", n)
		}
	})
}

// TestPurgesOfOthersAreTold: what another gateway has purged, without words that are not
// sent, and without what its visitors' orders bring about.
func TestPurgesOfOthersAreTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := new(cachetest.Log)
		a, b := newCache(t, cache.Options{Feed: log.Join("a")}), newCache(t, cache.Options{Feed: log.Join("b")})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 2)
		for _, c := range []*cache.Cache{a, b} {
			go func() { ended <- c.Run(ctx) }()
		}
		time.Sleep(5 * time.Second) // by the bubble's clock: until both follow the log
		done, err := a.Invalidate(t.Context(), cache.Invalidation{Tags: []string{"product-7"}}, cache.Invalidation{URL: "http://shop.example/a"}, cache.Invalidation{All: true, Hard: true})
		if err == nil {
			err = b.Synced(t.Context(), done.Position)
		}
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, e := range b.Report().Events {
			got = append(got, e.Text)
		}
		if want := "soft purge by tag by another gateway, responses: 0; purge of all by another gateway, responses: 0"; strings.Join(got, "; ") != want {
			t.Errorf("%q, want %q", got, want)
		}
		cancel()
		for range 2 {
			if err := <-ended; err != nil {
				t.Error(err)
			}
		}
	})
}
