package cache

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

	"github.com/foretier/foretier/internal/transit"
)

// A memo notes that it has ended.
type memo struct{ ended bool }

func (m *memo) End() { m.ended = true }

// learn asks h for path with the fields given, and returns from what an edge may
// answer the like, or nil.
func learn(h http.Handler, path string, fields ...string) transit.Page {
	r := httptest.NewRequest("GET", "http://h"+path, nil)
	for i := 0; i < len(fields); i += 2 {
		r.Header.Add(fields[i], fields[i+1])
	}
	ctx, rec := transit.With(r.Context())
	rec.Lesson.Hand(h)
	h.ServeHTTP(httptest.NewRecorder(), r.WithContext(ctx))
	p, _ := rec.Lesson.Learned()
	return p
}

// pages is a backend whose path says what the answer's header is.
var pages = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Cache-Control", "max-age=100")
	switch r.URL.Path {
	case "/coded":
		h.Set("Vary", "Accept-Encoding")
		if strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
			h.Set("Content-Encoding", "gzip")
		}
	case "/language":
		h.Set("Vary", "Accept-Language")
	case "/later":
		if r.Header.Get("Accept-Language") != "" {
			h.Set("Vary", "Accept-Language")
		}
	case "/gone":
		w.WriteHeader(http.StatusNotFound)
	case "/validate":
		h.Set("Cache-Control", "no-cache")
		h.Set("Etag", `"1"`)
	case "/large":
		for range 40 {
			fmt.Fprint(w, strings.Repeat("x", 10_000))
		}
	}
	fmt.Fprint(w, r.URL)
})

func TestWhatIsTaught(t *testing.T) {
	byURL := Rules{PlanByURL: true, Plan: func(r *http.Request) Plan {
		return Plan{Query: Query{Drop: []string{"utm"}}, Cookies: map[bool][]string{true: {"_ga"}}[r.URL.Path == "/keyed"]}
	}}
	classes := Rules{PlanByURL: true, Plan: func(r *http.Request) Plan { return Plan{Classes: Devices(r)} }}
	for name, c := range map[string]struct {
		rules  Rules
		path   string
		fields []string
		want   bool
	}{
		"a page":                    {path: "/", want: true},
		"a coded one":               {path: "/coded", fields: []string{"Accept-Encoding", "gzip"}, want: true},
		"an ignored cookie":         {path: "/", fields: []string{"Cookie", "_ga=1"}, want: true},
		"another cookie":            {path: "/", fields: []string{"Cookie", "_ga=1; cart=2"}},
		"another field is selected": {path: "/language"},
		"an error":                  {path: "/gone"},
		"to be validated":           {path: "/validate"},
		"a plan":                    {path: "/", rules: Rules{Plan: byURL.Plan}},
		"a plan by URL":             {path: "/?utm=1", rules: byURL, want: true},
		"an ignored cookie, keyed":  {path: "/keyed", rules: byURL, fields: []string{"Cookie", "_ga=1"}},
		"classes":                   {path: "/", rules: classes},
	} {
		t.Run(name, func(t *testing.T) {
			c0, err := New(Options{Rules: c.rules, IgnoreCookies: []string{"_ga"}})
			if err != nil {
				t.Fatal(err)
			}
			h := c0.Handler(pages)
			if learn(h, c.path, c.fields...) != nil {
				t.Error("a miss teaches")
			}
			if p := learn(h, c.path, c.fields...); p != nil != c.want {
				t.Errorf("taught: %v, want %t", p, c.want)
			}
		})
	}
}

// TestAPageFromBelowTeachesNothing: a handler that asks the cache again, for a
// fragment, does so for itself.
func TestAPageFromBelowTeachesNothing(t *testing.T) {
	c, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	var h http.Handler
	h = c.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/outer" {
			rec := transit.From(r.Context()) // the fetch's own
			rec.Lesson.Hand(nil)
			h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "http://h/inner", nil).WithContext(r.Context()))
			w.Header().Set("Cache-Control", "no-store")
			return
		}
		pages(w, r)
	}))
	learn(h, "/inner")
	for range 2 {
		if learn(h, "/outer") != nil {
			t.Error("a fragment has taught")
		}
	}
	if learn(h, "/inner") == nil {
		t.Error("a page has not taught")
	}
}

// TestAPageIsOpenOnlyWhileTheChainWouldServeIt tries what ends a page.
func TestAPageIsOpenOnlyWhileTheChainWouldServeIt(t *testing.T) {
	for name, c := range map[string]struct {
		end  func(*Cache, http.Handler)
		ends bool // the memo, too
	}{
		"purge, soft": {func(c *Cache, _ http.Handler) { invalidate(c, Invalidation{URL: "http://h/later"}) }, false},
		"purge, hard": {func(c *Cache, _ http.Handler) { invalidate(c, Invalidation{All: true, Hard: true}) }, true},
		"freshness":   {func(*Cache, http.Handler) { time.Sleep(100 * time.Second) }, false}, // called within the bubble below
		"a newer one": {func(_ *Cache, h http.Handler) {
			r := httptest.NewRequest("GET", "http://h/later", nil)
			r.Header.Set("Cache-Control", "no-cache")
			r.Header.Set("Accept-Language", "de")
			r.RemoteAddr = "192.0.2.9:1"
			h.ServeHTTP(httptest.NewRecorder(), r)
		}, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c0, err := New(Options{Orders: []netip.Prefix{netip.MustParsePrefix("192.0.2.9/32")}})
				if err != nil {
					t.Fatal(err)
				}
				h := c0.Handler(pages)
				learn(h, "/later")
				time.Sleep(3 * time.Second)
				p, m := learn(h, "/later"), new(memo)
				if !p.Keep(m, 100) {
					t.Fatal("not kept")
				}
				hits := c0.figures.hits.Load()
				age, ttl, ok := p.Open(time.Now(), false)
				if age != 3 || ttl != 97 || !ok || c0.figures.hits.Load() != hits+1 {
					t.Errorf("open: %d, %d, %t", age, ttl, ok)
				}
				c.end(c0, h)
				synctest.Wait()
				hits = c0.figures.hits.Load()
				if _, _, ok := p.Open(time.Now(), false); ok && !m.ended || c0.figures.hits.Load() != hits && !ok {
					t.Errorf("open: %t, ended %t", ok, m.ended)
				}
				if m.ended != c.ends {
					t.Errorf("ended: %t", m.ended)
				}
				if m.ended && p.Keep(new(memo), 100) {
					t.Error("kept, and hidden or gone")
				}
			})
		})
	}
}

func invalidate(c *Cache, inv Invalidation) {
	if _, err := c.Invalidate(context.Background(), inv); err != nil {
		panic(err)
	}
}

// TestNearItsEndAPageIsForTheChain, which draws lots whether to refresh it.
func TestNearItsEndAPageIsForTheChain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, err := New(Options{})
		if err != nil {
			t.Fatal(err)
		}
		h := c.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			time.Sleep(time.Second)
			pages(w, r)
		}))
		learn(h, "/")
		p := learn(h, "/")
		time.Sleep(88 * time.Second)
		if _, _, ok := p.Open(time.Now(), false); !ok {
			t.Error("not open long before")
		}
		time.Sleep(2 * time.Second)
		if _, _, ok := p.Open(time.Now(), false); ok {
			t.Error("open, and may be refreshed")
		}
	})
}

type drain struct{ strings.Builder }

func (*drain) SetWriteDeadline(time.Time) error { return nil }

// TestAPageIsSentWhole in pieces of any size.
func TestAPageIsSentWhole(t *testing.T) {
	c, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	h := c.Handler(pages)
	learn(h, "/large")
	p := learn(h, "/large")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest("GET", "http://h/large", nil))
	want := w.Body.String()
	if p.Len() != int64(len(want)) {
		t.Fatalf("Len: %d of %d", p.Len(), len(want))
	}
	for _, n := range []int{0, 1, 100, 9_999, 10_000, 70_000, 200_000, len(want) - 1, len(want), len(want) + 1} {
		if _, _, ok := p.Open(time.Now(), true); !ok {
			t.Fatal("not open")
		}
		got := string(p.AppendBody(nil, n))
		var s drain
		m, err := p.Send(&s, int64(len(got)), netip.Addr{})
		if err != nil || int(m) != s.Len() || got+s.String() != want || len(got) != min(n, len(want)) {
			t.Errorf("%d first: %d and %d of %d bytes, said %d, %v", n, len(got), s.Len(), len(want), m, err)
		}
	}
	invalidate(c, Invalidation{All: true, Hard: true})
	if used := c.store.Stats().Used; used != 0 {
		t.Errorf("%d bytes are held", used)
	}
	if _, _, ok := p.Open(time.Now(), true); ok {
		t.Error("open, and nobody holds it")
	}
}
