package router_test

import (
	"crypto/tls"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/foretier/foretier/router"
)

func TestMatchersOfMore(t *testing.T) {
	query, contains, regexp, suffix := router.Query, router.HeaderContains, router.HeaderRegexp, router.PathSuffix
	for _, c := range []struct {
		m      router.Matcher
		target string
		lines  []string // of X-V
		want   bool
	}{
		{query("q"), "/", nil, false},
		{query("q"), "/?q", nil, true},
		{query("q"), "/?qq=1&Q=1&p=q", nil, false},
		{query("q"), "/?%71=1", nil, true},
		{query("q", "a b", "c"), "/?q=x&q=a+b", nil, true},
		{query("q", "a b", "c"), "/?q=a%20b", nil, true},
		{query("q", "a b", "c"), "/?q=a%2520b&q=C", nil, false},
		{query("q", ""), "/?q", nil, true},
		{query("q", "1"), "/x;q=1", nil, false},
		{query("q", "1"), "/?a;q=1", nil, false},
		{query("a b"), "/?a+b", nil, true},
		{contains("X-V", "b", "z"), "/", []string{"a", "abc"}, true},
		{contains("x-v", "b", "z"), "/", []string{"a", "B"}, false},
		{contains("X-V", "b"), "/", nil, false},
		{regexp("X-V", "^[0-9]+$"), "/", []string{"x", "12"}, true},
		{regexp("X-V", "^[0-9]+$"), "/", []string{"x12"}, false},
		{regexp("X-V", "."), "/", nil, false},
		{suffix(".png", ".gif"), "/a/b.gif", nil, true},
		{suffix(".png"), "/b.PNG", nil, false},
		{suffix(".png"), "/b.p%6Eg", nil, true},
		{suffix(".png"), "/b.png;x=1", nil, true},
		{suffix(".png"), "/b.png/", nil, false},
		{suffix(".png"), "/b?.png", nil, false},
		{suffix("/edit"), "/edit", nil, true},
		{suffix("/edit"), "/a//edit", nil, true},
		{suffix("/edit"), "/x/edit/../y", nil, false},
		{suffix(".png"), "/..%2f.png", nil, false}, // it has no honest reading
		{router.Scheme("http"), "/", nil, true},
		{router.Scheme("https"), "/", nil, false},
	} {
		r := request("GET", c.target)
		r.Header["X-V"] = c.lines
		if got := c.m.Match(r); got != c.want {
			t.Errorf("%s of %s %q: %t", c.m, c.target, c.lines, got)
		}
	}
	r := request("GET", "/")
	r.TLS = new(tls.ConnectionState)
	if router.Scheme("http").Match(r) || !router.Scheme("https").Match(r) {
		t.Error("https is not told")
	}
}

func TestMatchersThatAreNone(t *testing.T) {
	for _, c := range []struct {
		m    router.Matcher
		want string
	}{
		{router.Query(""), "Query is empty"},
		{router.Query("a=1"), "want it without value"},
		{router.Query("?a"), "want it without value"},
		{router.Scheme("HTTPS"), `want "http" or "https"`},
		{router.Scheme("https://"), `want "http" or "https"`},
		{router.HeaderContains("X-V"), "HeaderContains is empty"},
		{router.HeaderContains("", "a"), "HeaderContains is empty"},
		{router.HeaderContains("X-V", ""), `want Header("X-V")`},
		{router.HeaderContains("X V", "a"), "is no name of a field"},
		{router.HeaderContains("Host", "a"), "want Host(...)"},
		{router.HeaderContains("X-V", "a\nb"), "never matches"},
		{router.HeaderRegexp("X-V", ""), "HeaderRegexp is empty"},
		{router.HeaderRegexp("X-V", "("), "missing closing )"},
		{router.HeaderRegexp("Trailer", "a"), "the server takes it off"},
		{router.PathSuffix(), "PathSuffix is empty"},
		{router.PathSuffix(""), "takes everything"},
		{router.PathSuffix("*.png"), "want it without a star"},
		{router.PathSuffix("/../x"), "never matches a canonical path"},
		{router.PathSuffix("a//b"), "never matches a canonical path"},
	} {
		_, err := router.New(router.Options{}, router.Rule{Name: "x", When: c.m, To: say("x")}, router.Rule{Name: "rest", To: say("rest")})
		if !errors.Is(err, router.ErrRules) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", c.m, err, c.want)
		}
	}
}

// Many rules that look at a long query go through it a few times, not each.
func TestManyQueries(t *testing.T) {
	var rules []router.Rule
	for i := range 200 {
		rules = append(rules, router.Rule{Name: string(rune('A' + i)), When: router.Query("q" + string(rune('A'+i))), To: say("x")})
	}
	rt := mustNew(t, append(rules, router.Rule{Name: "rest", To: say("rest")})...)
	r := request("GET", "/?"+strings.Repeat("%71=1&", 1300))
	w := new(discarded)
	n := testing.AllocsPerRun(3, func() { rt.ServeHTTP(w, r) })
	if n > 6*1300*2 {
		t.Errorf("%g allocations", n)
	}
}

// A discarded answer is one that nobody looks at.
type discarded struct{ h http.Header }

func (d *discarded) Header() http.Header {
	if d.h == nil {
		d.h = make(http.Header)
	}
	return d.h
}
func (d *discarded) Write(p []byte) (int, error) { return len(p), nil }
func (d *discarded) WriteHeader(int)             {}

// TestNoRequestBreaksWhatIsProved: tables and claims at random, of all conditions, with
// paths rewritten and routers behind routers.
func TestNoRequestBreaksWhatIsProved(t *testing.T) {
	c := newCorpus()
	proved, broken := 0, 0
	for range 1000 {
		var reached *pool
		var got *http.Request
		pools := make(map[string]*pool)
		for _, name := range []string{"a", "b", "c"} {
			p := newPool(name)
			p.Handler = http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { reached, got = p, r })
			pools[name] = p
		}
		to := func(string) http.Handler { return pools[pick(c, "a", "b", "c")] }
		rt := mustNew(t, c.rules(func(name string) http.Handler {
			if c.IntN(5) > 0 {
				return to(name)
			}
			return mustNew(t, c.rules(to)...)
		})...)
		of := c.matcher(1)
		only := []http.Handler{pools["a"], pools["b"]}[:1+c.IntN(2)]
		claim := router.Only(only...).For(of)
		var ce *router.Counterexample
		switch err := rt.Prove(claim); {
		case errors.As(err, &ce):
			broken++
			continue
		case err != nil:
			continue
		}
		proved++
		for range 200 {
			r := c.request()
			reached = nil
			rt.ServeHTTP(new(discarded), r)
			if reached == nil || slices.Contains(only, http.Handler(reached)) || !of.Match(r) && !of.Match(got) {
				continue
			}
			t.Fatalf("%s is proved, and broken by %s %s of %s, %v, https %t: %s gets %s, by %+v", claim, r.Method, r.RequestURI, r.Host, r.Header, r.TLS != nil, reached, got.URL, rt.Explain(r))
		}
	}
	t.Logf("%d proved, %d broken", proved, broken)
	if proved < 50 || broken < 50 {
		t.Errorf("%d claims proved, %d broken", proved, broken)
	}
}

// TestCounterexamplesAreSuch: what a proof finds is so, where nothing is assumed.
func TestCounterexamplesAreSuch(t *testing.T) {
	c := newCorpus()
	tried := 0
	for range 500 {
		var reached *pool
		pools := []*pool{newPool("a"), newPool("b")}
		for _, p := range pools {
			p.Handler = http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached = p })
		}
		rt := mustNew(t, c.rules(func(string) http.Handler { return pools[c.IntN(2)] })...)
		of := c.matcher(1)
		var ce *router.Counterexample
		if !errors.As(rt.Prove(router.Only(pools[0]).For(of)), &ce) || len(ce.Assuming) > 0 || strings.Contains(of.String(), "HeaderRegexp") {
			continue
		}
		tried++
		rt.ServeHTTP(new(discarded), ce.Request)
		if reached != pools[1] || ce.Outgoing == "" && !of.Match(ce.Request) {
			t.Errorf("%v: it reaches %v, by %+v", ce, reached, rt.Explain(ce.Request))
		}
	}
	if tried < 50 {
		t.Errorf("%d were tried", tried)
	}
}
