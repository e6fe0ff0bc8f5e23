package cache

import (
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/foretier/foretier/health"
	"github.com/foretier/foretier/internal/transit"
)

// asked answers with what it was asked for, how many times before, and No-Vary-Search.
func asked(said string) *backend {
	return &backend{answer: func(w http.ResponseWriter, r *http.Request, n int) {
		w.Header().Set("Cache-Control", "max-age=60")
		if said != "" {
			w.Header().Set("No-Vary-Search", said)
		}
		fmt.Fprintf(w, "%d %s", n, r.URL.RequestURI())
	}}
}

func TestNoVarySearch(t *testing.T) {
	b := asked(`params=("utm" "fbclid"), key-order`)
	c, h := open(t, Options{}, b)
	for _, step := range []struct{ url, body string }{
		{"/p?b=1&utm=1&a=1", "1 /p?b=1&utm=1&a=1"}, // of a path that is not known yet
		{"/p?b=1&utm=2&a=1", "2 /p?a=1&b=1"},       // in the form that stands for all
		{"/p?utm=<script>&a=1&b=1", "2 /p?a=1&b=1"},
		{"/p?a=1&b=1", "2 /p?a=1&b=1"},
		{"/p?b=1&a=1&fbclid", "2 /p?a=1&b=1"},
		{"/p?b=1&utm=1&a=1", "1 /p?b=1&utm=1&a=1"}, // its own
		{"/p?b=1&a=2", "3 /p?a=2&b=1"},
		{"/p?utm=1", "4 /p"},
		{"/q?utm=1", "5 /q?utm=1"},
	} {
		want(t, get(h, "http://a"+step.url), 200, step.body)
	}
	want(t, get(h, "http://b/p?utm=3&a=2&b=1"), 200, "6 /p?utm=3&a=2&b=1")
	if w := get(h, "http://a/p?utm=9"); w.Body.String() != "4 /p" || !strings.HasSuffix(w.Header().Get("Cache-Status"), `; detail="No-Vary-Search"`) {
		t.Errorf("got %v", w.Header())
	}
	d := health.Explain(h, httptest.NewRequest("GET", "http://a/p?utm=9&c", nil))
	if d.Verdict != "miss" || !strings.HasPrefix(d.Steps[0], "key: a/p?c,") || !strings.Contains(d.Steps[1], "stands for this one") {
		t.Errorf("explained as %+v", d)
	}
	if n := c.store.Stats().Count; n != 6 {
		t.Errorf("%d are stored", n)
	}
}

func TestNoVarySearchOnRequest(t *testing.T) {
	b := asked(`params=("utm")`)
	_, h := open(t, Options{IgnoreNoVarySearch: true}, b)
	want(t, get(h, "/p?utm=1"), 200, "1 /p?utm=1")
	want(t, get(h, "/p?utm=2"), 200, "2 /p?utm=2")
	want(t, get(h, "/p"), 200, "3 /p")
}

// No text takes another's place, but the first one's when there are more than 256.
func TestManyNoVarySearches(t *testing.T) {
	var s searches
	said := func(i int) string { return fmt.Sprintf(`params=("p%d")`, i) }
	for i := range 256 {
		s.learn("http://a/p?x", said(i))
		s.learn("http://a/p?x", `params=(1)`) // says nothing, and has no place
	}
	for i := range 256 {
		s.learn("http://a/p?x", said(i))
		if got := s.of([]byte("http://a/p?y")); got == nil || got.Text != said(i) {
			t.Fatalf("%d: got %+v", i, got)
		}
		if n := s.next; n != 0 {
			t.Fatalf("%q has got place %d", said(i), n-1)
		}
	}
	s.learn("http://a/q", said(256))
	if s.texts[0].Load().Text != said(256) || len(s.where) != 256 {
		t.Errorf("%d texts", len(s.where))
	}
	s.learn("http://a/p", said(0))
	if got := s.of([]byte("http://a/p?y")); got == nil || got.Text != said(0) {
		t.Errorf("got %+v", got)
	}
}

// A response of several lines says what one does.
func TestNoVarySearchInLines(t *testing.T) {
	b := &backend{header: http.Header{"Cache-Control": {"max-age=60"}, "No-Vary-Search": {`params`, `except=("id")`}}}
	_, h := open(t, Options{}, b)
	want(t, get(h, "/p?id=1"), 200, "answer 1")
	want(t, get(h, "/p?id=1&x"), 200, "answer 1")
	if w := get(h, "/p?x&id=1"); w.Header().Get("No-Vary-Search") != `params, except=("id")` || w.Body.String() != "answer 1" {
		t.Errorf("got %q, %v", w.Body, w.Header())
	}
	want(t, get(h, "/p?id=2"), 200, "answer 2")
}

// What a response says counts for itself only, and in the words that were said last.
func TestNoVarySearchThatDiffers(t *testing.T) {
	pages := map[string]string{ // by query without utm
		"route=product": `params, except=("route")`, "route=cart": "", "route=help": `params=("utm")`, "": "-",
	}
	b := &backend{}
	b.answer = func(w http.ResponseWriter, r *http.Request, n int) {
		route := r.URL.Query().Get("route")
		if route != "" {
			route = "route=" + route
		}
		if said := pages[route]; said != "" && said != "-" {
			w.Header().Set("No-Vary-Search", said)
		}
		if route == "route=cart" {
			w.Header().Set("Cache-Control", "no-store")
		} else {
			w.Header().Set("Cache-Control", "max-age=60")
		}
		fmt.Fprintf(w, "%d %s", n, r.URL.RequestURI())
	}
	_, h := open(t, Options{}, b)
	for _, step := range []struct{ url, body string }{
		{"?route=product", "1 /?route=product"},
		{"?route=product&utm=1", "1 /?route=product"},
		{"?route=cart&add=1", "3 /?route=cart&add=1"}, // asked as ?route=cart first
		{"?route=cart&add=2", "4 /?route=cart&add=2"}, // and no more
		{"?route=cart&add=2", "5 /?route=cart&add=2"},
		{"?route=help&utm=1", "7 /?route=help&utm=1"}, // nor is ?route=help what says so in other words
		{"?route=help&utm=2", "6 /?route=help"},       // until those are the last
		{"?utm=1", "9 /?utm=1"},                       // nor is the page without a query
		{"?utm=2", "10 /?utm=2"},
		{"?utm=1", "9 /?utm=1"},
	} {
		w := get(h, "http://a/"+step.url)
		if w.Body.String() != step.body {
			t.Errorf("%s: got %q, want %q: %v", step.url, w.Body, step.body, w.Header())
		}
	}
}

// by has h asked by rules that have gone by something.
func by(h http.Handler, choice transit.Choice) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r, rec, _ := transit.Enter(r)
		rec.Choice = choice
		h.ServeHTTP(w, r)
	})
}

// Rules may read the query. What one of them has had fetched does not answer what
// another takes, nor does one handler's answer another's, where nobody knows who chooses.
func TestNoVarySearchKeepsRulesApart(t *testing.T) {
	for name, c := range map[string]struct {
		handlers int
		choice   transit.Choice
		apart    bool
	}{
		"one handler":                    {1, transit.NoChoice, false},
		"several, and nobody knows":      {2, transit.NoChoice, true},
		"several, by rules":              {2, transit.ByTheRest, false},
		"rules that have read the query": {1, transit.ByQuery, true},
	} {
		t.Run(name, func(t *testing.T) {
			live, preview := asked(`params=("preview")`), asked(`params=("preview")`)
			pages, shop := open(t, Options{}, live)
			draft := shop
			if c.handlers > 1 {
				draft = pages.Handler(preview)
			}
			shop, draft = by(shop, c.choice), by(draft, c.choice)
			for _, url := range []string{"/p?preview=1", "/p?preview=2", "/p", "/p?preview=3"} {
				h := draft
				if url == "/p" {
					h = shop
				}
				body := get(h, url).Body.String()
				if apart := strings.HasSuffix(body, " "+url); apart != c.apart && url != "/p" && url != "/p?preview=1" {
					t.Errorf("%s: got %q", url, body)
				}
			}
			if n := live.calls.Load() + preview.calls.Load(); c.apart && n != 4 || !c.apart && n != 2 {
				t.Errorf("%d fetches", n)
			}
		})
	}
}

// What one visitor adds is not in another's page, whoever comes first, and whatever it
// comes with.
func TestNoVarySearchIsNoWayIn(t *testing.T) {
	b := asked(`params`)
	_, h := open(t, Options{}, b)
	get(h, "/p?x=<script>")
	for _, with := range [][]string{nil, {"Cookie", "a=b"}, {"Authorization", "x"}, {"Cache-Control", "no-store"}, {"Range", "bytes=0-1"}} {
		get(h, "/p?y=<script>", with...)
	}
	for _, target := range []string{"/p", "/p?z", "/p?x=<script&"} {
		if w := get(h, target); strings.Contains(w.Body.String(), "script") {
			t.Errorf("%s: got %q", target, w.Body)
		}
	}
}

// Who may get an answer for himself is asked for by his own URL, once.
func TestNoVarySearchOfOneVisitor(t *testing.T) {
	b := asked(`params=("utm")`)
	_, h := open(t, Options{FillFields: []string{}}, b)
	get(h, "/p?utm=1")
	for i, with := range [][]string{{"Cookie", "a=b"}, {"Authorization", "x"}, {"Cache-Control", "no-store"}, {"X-Odd", "x"}} {
		want(t, get(h, "/p?utm=2", with...), 200, fmt.Sprintf("%d /p?utm=2", i+2))
	}
	want(t, get(h, "/p?utm=4", "Range", "bytes=0-1"), 200, "6 /p?utm=4") // as the backend has it
	want(t, do(h, httptest.NewRequest("HEAD", "/p?utm=2", nil)), 200, "7 /p?utm=2")
	want(t, get(h, "/p?utm=2"), 200, "8 /p")
	for _, with := range [][]string{{"Cookie", "a=b"}, {"Cache-Control", "no-store"}, {"X-Odd", "x"}} {
		want(t, get(h, "/p?utm=2", with...), 200, "8 /p")
	}
	want(t, get(h, "/p?utm=2", "Range", "bytes=2-"), 206, "/p")
	want(t, do(h, httptest.NewRequest("HEAD", "/p?utm=3", nil)), 200, "")
	if n := b.calls.Load(); n != 8 {
		t.Errorf("the backend was asked %d times", n)
	}
}

// A purge of any of the URLs that a response answers is one of it.
func TestPurgeByAnyOfItsURLs(t *testing.T) {
	for _, c := range []struct {
		said, stored, named string
		hit                 int
	}{
		{`params=("utm")`, "/p", "/p?utm=1", 1},
		{`params=("utm")`, "/p?utm=2", "/p", 1},
		{`params=("utm")`, "/p?a=%C3%A9&utm=2", "/%70?%75tm=1&a=é", 1},
		{`params=("utm")`, "/p?a=1", "/p?utm=1&a=2", 0},
		{`params=("utm")`, "/p", "/q?utm=1", 0},
		{`params=("utm")`, "/p?%ff=1", "/p?utm&%ff=1", 0},
		{`key-order`, "/p?a=1&b=2", "/p?b=2&a=1", 1},
		{`params, except=("id")`, "/p?id=1", "/p?x&id=1&y", 1},
		{`params, except=("id")`, "/p?id=1", "/p?x&id=2&y", 0},
		{`params=()`, "/p", "/p?utm=1", 0},
	} {
		for _, hard := range []bool{false, true} {
			b := asked(c.said)
			pages, h := open(t, Options{}, b)
			get(h, "http://a"+c.stored)
			done, err := pages.Invalidate(t.Context(), Invalidation{URL: "https://a" + c.named, Hard: hard})
			if err != nil || done.Responses != c.hit {
				t.Errorf("%s: %s by %s, hard %t: hit %d, %v", c.said, c.stored, c.named, hard, done.Responses, err)
			}
			w := get(h, "http://a"+c.stored)
			if stale := strings.Contains(w.Header().Get("Cache-Status"), "ttl=-1"); c.hit > 0 && !hard && !stale || c.hit == 0 && w.Body.String()[0] != '1' || c.hit > 0 && hard && w.Body.String()[0] != '2' {
				t.Errorf("%s: %s by %s, hard %t: got %q %v", c.said, c.stored, c.named, hard, w.Body, w.Header())
			}
		}
	}
}

// A purge beats a fetch that is running for another of the URLs.
func TestPurgeBeatsRunningFetchOfAnotherURL(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &backend{}
		b.answer = func(w http.ResponseWriter, r *http.Request, n int) {
			time.Sleep(time.Second) // of the bubble's
			w.Header().Set("Cache-Control", "max-age=60")
			w.Header().Set("No-Vary-Search", "params")
			fmt.Fprint(w, n)
		}
		c, h := open(t, Options{}, b)
		var wait sync.WaitGroup
		ask := func(target, body string) {
			wait.Go(func() { want(t, get(h, target), 200, body) })
			synctest.Wait()
		}
		for range 2 { // of a path that is not known, and of one that is
			first := b.calls.Load() + 1
			ask("http://a/p?x=1", fmt.Sprint(first))
			if _, err := c.Invalidate(t.Context(), Invalidation{URL: "http://a/p?y=1", Hard: true}); err != nil {
				t.Fatal(err)
			}
			ask("http://a/p?x=1", fmt.Sprint(first+1))
			wait.Wait()
			want(t, get(h, "http://a/p?x=1"), 200, fmt.Sprint(first+1))
			if _, err := c.Invalidate(t.Context(), Invalidation{URL: "http://a/p?z=1", Hard: true}); err != nil {
				t.Fatal(err)
			}
		}
		if n := c.store.Stats().Count; n != 0 {
			t.Errorf("%d are stored", n)
		}
	})
}

// Requests wait for what stands for their URLs, and ask for themselves if that does not
// say so.
func TestWaitForWhatStandsForIt(t *testing.T) {
	for name, c := range map[string]struct {
		said, control string
		calls         int32
	}{
		"which says so":          {"params", "max-age=60", 2},
		"in other words":         {"params, x", "max-age=60", 2 + 10},
		"which says nothing":     {"", "max-age=60", 2 + 10},
		"which is nobody else's": {"params", "private", 2 + 10},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := &backend{}
				b.answer = func(w http.ResponseWriter, r *http.Request, n int) {
					if n == 1 {
						w.Header().Set("Cache-Control", "max-age=60")
						w.Header().Set("No-Vary-Search", "params")
						return
					}
					time.Sleep(time.Second) // of the bubble's
					w.Header().Set("Cache-Control", c.control)
					if c.said != "" {
						w.Header().Set("No-Vary-Search", c.said)
					}
					io.WriteString(w, r.URL.RequestURI())
				}
				_, h := open(t, Options{}, b)
				get(h, "/p?first")
				var wait sync.WaitGroup
				for i := range 10 {
					wait.Go(func() {
						body := fmt.Sprint("/p?", i)
						if c.calls == 2 {
							body = "/p"
						}
						want(t, get(h, fmt.Sprint("/p?", i)), 200, body)
					})
				}
				wait.Wait()
				if n := b.calls.Load(); n != c.calls {
					t.Errorf("the backend was asked %d times, want %d", n, c.calls)
				}
			})
		})
	}
}

// TestNoVarySearchByModel: an origin whose pages depend on what it says, of which it
// changes its mind, and of which only some is said. Whatever is asked in whatever order,
// at once, and purged: everybody gets the page of his own URL, and no older one than the
// last purge.
func TestNoVarySearchByModel(t *testing.T) {
	for seed := range uint64(200) {
		synctest.Test(t, func(t *testing.T) { playSearches(t, seed) })
	}
}

// says is what the origin may say, and what its pages then depend on.
var says = []struct {
	text string
	form func(url.Values) url.Values
}{
	{"", func(v url.Values) url.Values { return v }},
	{`params`, func(url.Values) url.Values { return nil }},
	{`params=("a")`, func(v url.Values) url.Values { v.Del("a"); return v }},
	{`params=("a" "b")`, func(v url.Values) url.Values { v.Del("a"); v.Del("b"); return v }},
	{`params, except=("a")`, func(v url.Values) url.Values { return url.Values{"a": v["a"]} }},
	{`key-order, params, except=("b" "c")`, func(v url.Values) url.Values { return url.Values{"b": v["b"], "c": v["c"]} }},
}

func playSearches(t *testing.T, seed uint64) {
	var mode, version atomic.Int64
	rnd := rand.New(rand.NewPCG(seed, 1))
	page := func(path string, query url.Values) string {
		said := says[0]
		switch path {
		case "/changing":
			said = says[mode.Load()%int64(len(says))]
		case "/mixed": // by a parameter that all of them heed, or none says is of no matter
			if query.Get("c") == "1" {
				said = says[2]
			}
		}
		return said.text + "|" + said.form(query).Encode()
	}
	origin := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked := version.Load()
		body := page(r.URL.Path, r.URL.Query())
		said, _, _ := strings.Cut(body, "|")
		if said != "" {
			w.Header().Set("No-Vary-Search", said)
		}
		n := seed + uint64(asked) + uint64(len(r.URL.RawQuery))
		switch {
		case n%7 == 0:
			w.Header().Set("Cache-Control", "no-store")
		case n%5 == 0:
			w.Header().Set("Cache-Control", "max-age=1, stale-while-revalidate=5")
			w.Header().Set("Etag", fmt.Sprintf("%q", fmt.Sprint(asked, body)))
			if r.Header.Get("If-None-Match") == w.Header().Get("Etag") {
				w.WriteHeader(304)
				return
			}
		default:
			w.Header().Set("Cache-Control", "max-age=60")
		}
		time.Sleep(time.Duration(n%3) * time.Millisecond) // of the bubble's
		fmt.Fprint(w, asked, "|", body)
	})
	c, h := open(t, Options{Logger: slog.New(slog.DiscardHandler)}, origin)
	query := func() string {
		list := make([]string, rnd.IntN(4))
		for i := range list {
			list[i] = fmt.Sprintf("%c=%d", "abc"[rnd.IntN(3)], rnd.IntN(2))
		}
		return strings.Join(list, "&")
	}
	var asking sync.WaitGroup
	for range 150 {
		path := []string{"/changing", "/mixed"}[rnd.IntN(2)]
		target := path + "?" + query()
		switch rnd.IntN(10) {
		case 0: // it changes its mind, and says so by a purge of the path
			asking.Wait()
			mode.Store(rnd.Int64N(int64(len(says))))
			version.Add(1)
			if _, err := c.Invalidate(t.Context(), Invalidation{PathPrefix: "/changing", Hard: true}); err != nil {
				t.Fatal(err)
			}
			if _, err := c.Invalidate(t.Context(), Invalidation{PathPrefix: "/mixed", Hard: true}); err != nil {
				t.Fatal(err)
			}
		case 1: // one page is new
			asking.Wait()
			version.Add(1)
			if _, err := c.Invalidate(t.Context(), Invalidation{URL: "http://example.com" + target, Hard: true}); err != nil {
				t.Fatal(err)
			}
			u, _ := url.Parse(target)
			w := get(h, target)
			if got, now := w.Body.String(), fmt.Sprint(version.Load(), "|", page(path, u.Query())); got != now {
				t.Fatalf("seed %d: %s after its purge: got %q, want %q: %v", seed, target, got, now, w.Header())
			}
		case 2:
			time.Sleep(time.Duration(rnd.IntN(3)) * time.Second) // of the bubble's
		default:
			u, _ := url.Parse(target)
			asking.Go(func() {
				w := get(h, target)
				_, got, _ := strings.Cut(w.Body.String(), "|")
				if should := page(path, u.Query()); got != should {
					t.Errorf("seed %d: %s: got %q, want %q: %v", seed, target, got, should, w.Header())
				}
			})
		}
	}
	asking.Wait()
}

// Thousands of variants are one response; and where nothing is one, no more than twice
// the fetches.
func TestManyVariantsOfAQuery(t *testing.T) {
	b := asked(`params, except=("id")`)
	c, h := open(t, Options{MaxBytes: 32 << 20}, b)
	for i := range 5000 {
		get(h, fmt.Sprintf("/p?x=%d&id=7&y%d", i, i))
	}
	if n, stored := b.calls.Load(), c.store.Stats().Count; n != 2 || stored != 2 {
		t.Errorf("%d fetches, %d stored", n, stored)
	}
	b.calls.Store(0)
	for i := range 6000 {
		get(h, fmt.Sprintf("/p?id=%d", i+10))
	}
	if n := c.store.Tagged(family("example.com/p")); n != maxFamily {
		t.Errorf("%d answer for more than themselves", n)
	}
	want(t, get(h, "/p?id=7&x"), 200, "2 /p?id=7")
	if done, err := c.Invalidate(t.Context(), Invalidation{URL: "http://example.com/p?id=7&z", Hard: true}); err != nil || done.Responses != 2 {
		t.Errorf("%+v, %v", done, err)
	}
	if done, err := c.Invalidate(t.Context(), Invalidation{URL: "http://example.com/p?id=6009", Hard: true}); err != nil || done.Responses != 1 {
		t.Errorf("%+v, %v", done, err)
	}
}

// Hostile values take neither time nor memory, and hold nothing up.
func TestHostileNoVarySearch(t *testing.T) {
	for _, said := range []string{
		strings.Repeat("a", 8192), `params=("` + strings.Repeat("a", 8192) + `")`, `params=(` + strings.Repeat(`"a" `, 2000) + `)`,
		strings.Repeat("params,", 1000), strings.Repeat("key-order, ", 93) + "params", `params=("\`, `params=(((((`, "\x80", `params=("%00")`,
	} {
		b := asked(said)
		c, h := open(t, Options{}, b)
		for i := range 3 {
			if w := get(h, fmt.Sprintf("/p?a&x=%d&%s", i, strings.Repeat("a&", 3000))); w.Code != 200 {
				t.Errorf("%.30q: got %d", said, w.Code)
			}
		}
		for i := range c.searches.texts {
			if kept := c.searches.texts[i].Load(); kept != nil && len(kept.Text) > 1<<10 {
				t.Errorf("%.30q is kept", said)
			}
		}
	}
}

func BenchmarkHitAnotherURL(b *testing.B) {
	o := asked(`params=("utm_source" "utm_medium" "utm_campaign" "gclid")`)
	_, h := open(b, Options{}, o)
	for i := range 2 {
		get(h, fmt.Sprintf("/p?id=7&utm_source=%d", i))
	}
	r := httptest.NewRequest("GET", "/p?id=7&utm_source=news&utm_campaign=spring", nil)
	b.ReportAllocs()
	for b.Loop() {
		h.ServeHTTP(httptest.NewRecorder(), r)
	}
	if n := o.calls.Load(); n != 2 {
		b.Errorf("%d fetches", n)
	}
}
