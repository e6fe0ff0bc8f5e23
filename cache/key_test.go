package cache

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

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
