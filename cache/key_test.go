package cache

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/foretier/foretier/internal/transit"
)

// Hundreds of cookies of one name that is in the key are put together once, not
// copied for each.
func TestManyCookiesOfOneName(t *testing.T) {
	r := httptest.NewRequest("GET", "/", nil)
	r.Header = http.Header{"Cookie": {strings.Repeat("currency=EUR; lang=de; ", 500)}}
	var got []string
	if n := testing.AllocsPerRun(10, func() { got = cookiePairs(r, []string{"currency", "lang"}) }); n > 50 {
		t.Errorf("%g allocations", n)
	}
	if got[0] != strings.Repeat("currency=EUR;", 500) || got[1] != strings.Repeat("lang=de;", 500) {
		t.Errorf("got %q", got)
	}
}

// Parameters that are no dropped one's are not decoded, and what is dropped is so
// in every spelling.
func TestManyParameters(t *testing.T) {
	q := Query{Drop: []string{"utm_*", "gclid", "+x"}}
	for _, unit := range []string{"&", "+&", "%26&", "%zz&", "a=%41&", "%C3%A9=1&", "=&"} {
		raw := strings.Repeat(unit, 7000/len(unit))
		if n := testing.AllocsPerRun(10, func() {
			if q.apply(raw) != raw {
				t.Errorf("%q is dropped", unit)
			}
		}); n > 0 {
			t.Errorf("%q: %g allocations", unit, n)
		}
	}
	for raw, want := range map[string]string{
		"a=1&utm_x=1&b": "a=1&b", "%75tm_x=1&+&b": "+&b", "gclid&%67clid=2&gclid2=3": "gclid2=3", "%2Bx=1&%2bx&c": "c", "utm%5Fx&utm": "utm", "%75%zz=1": "%75%zz=1",
	} {
		if got := q.apply(raw); got != want {
			t.Errorf("%s: got %s, want %s", raw, got, want)
		}
	}
	if got := (Query{Drop: []string{"*"}}).apply("a=1&%62=2"); got != "" {
		t.Errorf("all: got %s", got)
	}
}

// A canary's pages do not mix with the others', and a purge takes both.
func TestSpaces(t *testing.T) {
	b := &backend{header: control("max-age=60")}
	c, h := open(t, Options{}, b)
	ask := func(space, body string) {
		t.Helper()
		ctx, rec := transit.With(t.Context())
		rec.Space = space
		want(t, do(h, httptest.NewRequestWithContext(ctx, "GET", "http://a.example/", nil)), 200, body)
	}
	ask("", "answer 1")
	ask("canary", "answer 2")
	ask("", "answer 1")
	ask("canary", "answer 2")
	if _, err := c.Invalidate(t.Context(), Invalidation{URL: "http://a.example/", Hard: true}); err != nil {
		t.Fatal(err)
	}
	ask("", "answer 3")
	ask("canary", "answer 4")
}

// Magento 9083: the client's cookie says which group's page it gets, and what
// it gets is stored for the group.
func TestAClientDoesNotChooseItsGroup(t *testing.T) {
	b := &backend{header: control("public, max-age=60"), answer: func(w http.ResponseWriter, r *http.Request, n int) {
		w.Header().Set("X-Group", "general") // the session had expired
		fmt.Fprint(w, n)
	}}
	group := func(r *http.Request) string {
		c, err := r.Cookie("group")
		if err != nil {
			return "general"
		}
		return c.Value
	}
	_, h := open(t, Options{Rules: Rules{
		Plan: func(r *http.Request) Plan { return Plan{Key: []string{group(r)}} },
		Retention: func(r *http.Request, head Head, v Retention) Retention {
			v.Store = v.Store && head.Header.Get("X-Group") == group(r)
			return v
		},
	}}, b)
	get(h, "http://a.example/", "Cookie", "group=wholesale")
	want(t, get(h, "http://a.example/", "Cookie", "group=wholesale"), 200, "2")
	get(h, "http://a.example/")
	want(t, get(h, "http://a.example/"), 200, "3")
	want(t, get(h, "http://a.example/", "Cookie", "group=wholesale"), 200, "4")
}

// CVE-2026-2836: a key without the host.
func TestTheHostIsInTheKey(t *testing.T) {
	same := [][2]string{
		{"http://a.example/", "http://A.Example:80/"},
		{"https://a.example/", "https://a.example:443/"},
	}
	different := [][2]string{
		{"http://a.example/", "http://b.example/"},
		{"http://a.example/", "https://a.example/"},
		{"http://a.example/", "http://a.example:8080/"},
		{"http://a.example/", "http://a.example:443/"},
		{"https://a.example/", "https://a.example:80/"},
		{"http://a.example/", "http://a.example:443:80/"},
		{"http://a.example/", "http://a.example./"},
		{"http://a.example/a", "http://a.example/A"},
		{"http://a.example/a", "http://a.example/a?"},
		{"http://a.example/a", "http://a.example/a?b"},
		{"http://a.example/a%2Fb", "http://a.example/a/b"},
		{"http://a.example/?a=1&b=2", "http://a.example/?b=2&a=1"},
	}
	for i, pair := range append(same, different...) {
		b := &backend{header: control("max-age=60")}
		_, h := open(t, Options{}, b)
		for _, target := range pair {
			scheme, rest, _ := strings.Cut(target, "://")
			host, path, _ := strings.Cut(rest, "/")
			r := httptest.NewRequest("GET", scheme+"://x/"+path, nil)
			r.Host = host // as a client may send it
			do(h, r)
		}
		if one := b.calls.Load() == 1; one != (i < len(same)) {
			t.Errorf("%q: one response: %t", pair, one)
		}
	}
}

// CPDoS and kin: what is not in the key must not change what is stored.
func TestWhatIsNotInTheKeyChangesNothing(t *testing.T) {
	t.Run("an error that states nothing", func(t *testing.T) {
		for _, status := range []int{400, 403, 413, 431, 500, 502, 503} {
			b := &backend{answer: func(w http.ResponseWriter, _ *http.Request, n int) {
				w.Header().Set("Last-Modified", "Sun, 06 Nov 1994 08:49:37 GMT")
				w.WriteHeader(status)
			}}
			_, h := open(t, Options{}, b)
			get(h, "http://a.example/")
			if get(h, "http://a.example/"); b.calls.Load() != 2 {
				t.Errorf("%d is stored", status)
			}
		}
	})
	t.Run("an error that states a long life", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			b := &backend{header: control("max-age=86400"), answer: func(w http.ResponseWriter, _ *http.Request, n int) { w.WriteHeader(500) }}
			_, h := open(t, Options{}, b)
			get(h, "http://a.example/")
			time.Sleep(11 * time.Second)
			if get(h, "http://a.example/"); b.calls.Load() != 2 {
				t.Error("stored for longer than 10 s")
			}
		})
	})
	t.Run("an answer to somebody's fields that states a long life", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			for _, status := range []int{400, 401, 403, 412, 415, 416, 417, 431, 451} {
				b := &backend{header: control("max-age=60"), answer: func(w http.ResponseWriter, r *http.Request, _ int) {
					if len(r.Header["X-Custom"]) > 0 || r.Header["Referer"] != nil {
						w.WriteHeader(status)
						return
					}
					w.Write([]byte("page"))
				}}
				_, h := open(t, Options{}, b)
				get(h, "http://a.example/", "X-Custom", strings.Repeat("a", 9000))
				want(t, get(h, "http://a.example/"), 200, "page")
				time.Sleep(61 * time.Second) // stale: nobody's error takes its place
				get(h, "http://a.example/", "Referer", "http://evil.example/")
				want(t, get(h, "http://a.example/"), 200, "page")
			}
		})
	})
	t.Run("GET with a body", func(t *testing.T) {
		b := &backend{header: control("max-age=60")}
		_, h := open(t, Options{}, b)
		do(h, httptest.NewRequest("GET", "http://a.example/", strings.NewReader("q")))
		want(t, get(h, "http://a.example/"), 200, "answer 2")
	})
	t.Run("what a client says that it can make of a page", func(t *testing.T) {
		b := &backend{header: control("max-age=60"), answer: func(w http.ResponseWriter, r *http.Request, _ int) {
			fmt.Fprint(w, r.Header["Surrogate-Capability"])
		}}
		_, h := open(t, Options{}, b)
		want(t, get(h, "http://a.example/", "Surrogate-Capability", `evil="ESI/1.0"`), 200, `[Foretier="Surrogate/1.0"]`)
	})
	t.Run("what the key drops", func(t *testing.T) {
		b := &backend{header: control("max-age=60"), answer: func(w http.ResponseWriter, r *http.Request, _ int) {
			io.WriteString(w, r.URL.RequestURI()+" "+r.RequestURI+" "+r.Header.Get("Cookie"))
		}}
		_, h := open(t, Options{
			IgnoreCookies: []string{"_ga*"},
			Rules:         Rules{Plan: func(*http.Request) Plan { return Plan{Query: Query{Drop: Tracking()}} }},
		}, b)
		want(t, get(h, "http://a.example/?utm_source=<script>&a=1", "Cookie", "_ga=<script>"), 200, "/?a=1 /?a=1 ")
	})
}

// Both shops strip parameters by patterns that eat their neighbours.
func TestParametersAreDroppedByWholeName(t *testing.T) {
	q := Query{Drop: Tracking()}
	for in, out := range map[string]string{
		"":                                "",
		"basi=1&si=2":                     "basi=1&si=2",
		"utm_campaign=a+b&p=2":            "p=2",
		"p=2&utm_campaign=a+b":            "p=2",
		"a=%20x&gclid=1&b=&c":             "a=%20x&b=&c",
		"xgclid=1&gclidx=2":               "xgclid=1&gclidx=2",
		"%67clid=1&a=1":                   "a=1",
		"utm_=1&utm=2":                    "utm=2",
		"gclid=1":                         "",
		"_ga=1.2&_gat=1":                  "_gat=1",
		"a=1&&b=2":                        "a=1&&b=2",
		"gclid&a[]=1&a[]=2":               "a[]=1&a[]=2",
		"fbclid=x;a=1":                    "",
		"gad_source=1&gbraid=2&wbraid=3":  "",
		"msclkid=1&srsltid=2&product=%zz": "product=%zz",
	} {
		if got := q.apply(in); got != out {
			t.Errorf("%q: got %q, want %q", in, got, out)
		}
	}
	q = Query{Sort: true}
	if got := q.apply("b=2&a[]=2&a[]=1&c"); got != "a[]=2&a[]=1&b=2&c" {
		t.Errorf("sorted: %q", got)
	}
}
