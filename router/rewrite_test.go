package router_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/foretier/foretier/internal/target"
	"github.com/foretier/foretier/router"
)

type use = func(http.Handler) http.Handler

// sentOn answers with the target that goes on.
var sentOn = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, target.Of(r.URL)) })

func TestRewrite(t *testing.T) {
	strip, add, rewrite := router.StripPrefix, router.AddPrefix, router.Rewrite
	for _, c := range []struct {
		use    use
		target string
		want   string // "": 404
	}{
		{strip("/shop"), "/shop/a?b=%20", "/a?b=%20"},
		{strip("/shop/"), "/shop?", "/?"},
		{strip("/shop"), "/shop/", "/"},
		{strip("/shop"), "/shopping", ""},
		{strip("/shop"), "/a/shop/b", ""},
		{strip("/shop"), "/shop/a%2Fb/%C3%A9/{x}", "/a%2Fb/%C3%A9/%7Bx%7D"},
		{strip("/shop"), "/%73hop/a%2Fb", "/a/b"},
		{strip("/shop"), "/shop;x/a;y", "/a"},
		{strip("/shop"), "/shop/a;y", "/a;y"},
		{strip("/shop"), "/shop//a", "/a"}, // not //a, whose host is a
		{strip("/shop"), "/shop//evil/admin", "/evil/admin"},
		{strip("/shop"), "/shop/%2Fevil/x", "/%2Fevil/x"},
		{strip("/shop"), "/shop/../shop/a", "/a"},
		{strip("/shop"), "/shop/../admin", ""},
		{strip("/shop"), "/shop/x/../../admin", ""},
		{strip("/shop"), "//shop/a", "/a"}, // which may be read as a host's
		{strip("/a b"), "/a%20b/c", "/c"},
		{strip("/a b"), "/a%20b/%c", ""},
		{add("/shop"), "/", "/shop/"},
		{add("/shop"), "/a%2Fb;c?d", "/shop/a%2Fb;c?d"},
		{add("/shop"), "//a", "/shop//a"},
		{add("/shop"), "/x/../a", "/shop/x/../a"},
		{add("/caf\u00e9"), "/a", "/caf%C3%A9/a"},
		{rewrite("/old/{id}", "/new/{id}/x"), "/old/7?q", "/new/7/x?q"},
		{rewrite("/old/{id}", "/new/{id}/x"), "/old/7/8", "/old/7/8"},
		{rewrite("/old/{id}", "/new/{id}/x"), "/old/%37", "/new/7/x"},
		{rewrite("/old/{id}", "/new/{id}/x"), "/a%2fb", "/a%2fb"},
		{rewrite("/old/{id}", "/new/{id}/x"), "/old/a%2523", "/new/a%23/x"},
		{rewrite("/blog/*", "/wp/*"), "/blog/a/b%20c", "/wp/a/b%20c"},
		{rewrite("/blog/*", "/wp/*"), "/blog/", "/wp/"},
		{rewrite("/blog/*", "/wp/*"), "/blog", "/blog"},
		{rewrite("/x/{a}/{b}", "/{b}-{a}"), "/x/1/2", "/2-1"},
		{rewrite("/x/{a}-y", "/{a}."), "/x/.-y", ""}, // which would be /..
		{rewrite("/{a}/{b}", "/{b}"), "/x/y", "/y"},
		{rewrite("/old", "/new"), "/old", "/new"},
	} {
		rt := mustNew(t, router.Rule{Name: "all", To: sentOn, Use: []use{c.use}})
		w := httptest.NewRecorder()
		r := request("GET", c.target)
		rt.ServeHTTP(w, r)
		if got := w.Body.String(); c.want != "" && got != c.want || c.want == "" && w.Code != 404 && w.Code != 400 {
			t.Errorf("%s: got %d %s, want %q", c.target, w.Code, got, c.want)
		}
		if d := fmt.Sprint(rt.Explain(request("GET", c.target))); c.want != "" && !strings.Contains(d, "to "+strings.SplitN(c.want, "?", 2)[0]+" ") {
			t.Errorf("%s: explained as %s", c.target, d)
		}
	}
}

func TestRewritesInARow(t *testing.T) {
	rt := mustNew(t, router.Rule{Name: "all", To: sentOn, Use: []use{router.StripPrefix("/shop"), router.Rewrite("/p/{id}", "/product/{id}"), router.AddPrefix("/v2")}})
	for target, want := range map[string]string{"/shop/p/7": "/v2/product/7", "/shop": "/v2/", "/p/7": "404 Not Found\n"} {
		w := httptest.NewRecorder()
		if rt.ServeHTTP(w, request("GET", target)); w.Body.String() != want {
			t.Errorf("%s: got %q, want %q", target, w.Body, want)
		}
	}
}

func TestRewritesThatAreNone(t *testing.T) {
	for _, c := range []struct {
		use  use
		want string
	}{
		{router.StripPrefix(""), "changes no path"},
		{router.StripPrefix("/"), "changes no path"},
		{router.StripPrefix("shop"), "want one such as /shop"},
		{router.StripPrefix("/shop/*"), "want one such as /shop"},
		{router.StripPrefix("/a/../b"), "want one such as /shop"},
		{router.AddPrefix("//shop"), "want one such as /shop"},
		{router.AddPrefix("/shop?x"), "want one such as /shop"},
		{router.Rewrite("/old/{id}", "/new/{name}"), `has no parameter name`},
		{router.Rewrite("/old/{id}", "/new/*"), `has no parameter *`},
		{router.Rewrite("/old/{id:[0-9]+}", "/new/{id}"), "a regular expression"},
		{router.Rewrite("old", "/new"), "never matches a canonical path"},
		{router.Rewrite("/old", "https://other.example/"), "never matches a canonical path"},
		{router.Rewrite("/old/{id", "/new"), "Rewrite("},
	} {
		_, err := router.New(router.Options{}, router.Rule{Name: "all", To: sentOn, Use: []use{c.use}})
		if !errors.Is(err, router.ErrRules) || !strings.Contains(err.Error(), `rule "all": `) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("got %v, want %q", err, c.want)
		}
	}
}

// Claims hold for what paths are made, by rules, by routers below and before backends.
func TestProofsFollowRewrites(t *testing.T) {
	admin := router.Admin("/admin")
	for name, c := range map[string]struct {
		use   []use
		when  router.Matcher
		bases []string
		inner bool
		want  string // the request of the counterexample; "": there is none
	}{
		"harmless":               {use: []use{router.StripPrefix("/shop")}, when: router.Path("/shop/a")},
		"stripped into it":       {use: []use{router.StripPrefix("/shop")}, when: router.Path("/shop/*"), want: "/shop/admin"},
		"in another form":        {use: []use{router.StripPrefix("/shop")}, when: router.All(router.Path("/shop/*"), router.Not(router.Path("/shop/admin", "/shop/admin/*"))), want: "/shop/"},
		"a guard for all forms":  {use: []use{router.StripPrefix("/shop")}, when: router.All(router.Path("/shop/*"), router.Not(router.Admin("/shop/admin")))},
		"added":                  {use: []use{router.AddPrefix("/admin")}, want: "/"},
		"added before it":        {use: []use{router.AddPrefix("/shop")}},
		"rewritten into it":      {use: []use{router.Rewrite("/old/{x}", "/{x}/y")}, want: "/old/admin"},
		"rewritten to it":        {use: []use{router.Rewrite("/old/*", "/admin/*")}, want: "/old/"},
		"in a row":               {use: []use{router.StripPrefix("/a"), router.Rewrite("/b/*", "/c/*"), router.StripPrefix("/c")}, want: "/a/"},
		"completed by a backend": {use: []use{router.StripPrefix("/shop")}, when: router.Path("/shop/*"), bases: []string{"/admin"}, want: "/shop"},
		"below a router":         {use: []use{router.StripPrefix("/shop")}, when: router.Path("/shop/*"), inner: true},
	} {
		t.Run(name, func(t *testing.T) {
			origin, apps := newPool("origin"), newPool("apps", c.bases...)
			var to http.Handler = apps
			if c.inner {
				to = mustNew(t, router.Rule{Name: "inner admin", When: admin, To: origin}, router.Rule{Name: "inner", To: apps})
			}
			when := router.Not(admin)
			if c.when != nil {
				when = router.All(when, c.when)
			}
			rt := mustNew(t, router.Rule{Name: "apps", When: when, To: to, Use: c.use}, router.Rule{Name: "rest", To: origin})
			err := rt.Prove(router.Only(origin).For(admin))
			var ce *router.Counterexample
			if (c.want == "") != (err == nil) || err != nil && (!errors.As(err, &ce) || !strings.HasPrefix(ce.Request.RequestURI, c.want) || ce.Outgoing == "") {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}
