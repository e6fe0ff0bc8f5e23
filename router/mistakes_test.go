package router_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/foretier/foretier/router"
)

// What could never do what it looks like is refused when it is made, with words
// that say what would be right.
func TestMistakesAreToldAtTheStart(t *testing.T) {
	to := say("x")
	when := func(m router.Matcher) []router.Rule {
		return []router.Rule{{Name: "a", When: m, To: to}, {Name: "shop", To: to}}
	}
	goes := func(m router.Matcher, to http.Handler) []router.Rule {
		return []router.Rule{{Name: "a", When: m, To: to}, {Name: "shop", To: say("x")}}
	}
	path := router.Path
	for name, c := range map[string]struct {
		rules []router.Rule
		want  string // "": it is right
	}{
		"redirect to nobody's parameter": {goes(path("/p/{id}"), router.Redirect(301, "/product/{nope}")), `always has a parameter of {id}, {path}, {query}, none is {nope}`},
		"redirect without a path":        {goes(router.Host("a"), router.Redirect(301, "/product/{id}")), `none is {id}`},
		"redirect from one of two":       {goes(path("/p/{id}", "/q"), router.Redirect(301, "/product/{id}")), `none is {id}`},
		"redirect from both":             {goes(path("/p/{id}", "/{id}/q"), router.Redirect(301, "/product/{id}")), ""},
		"redirect by expression":         {goes(path("/p/{id:[0-9]{1,3}}"), router.Redirect(301, "/product/{id}")), ""},
		"redirect from any":              {goes(router.Any(path("/p/{id}"), router.Host("a")), router.Redirect(301, "/product/{id}")), `none is {id}`},
		"redirect from all":              {goes(router.All(router.Host("a"), path("/p/{id}")), router.Redirect(301, "/product/{id}")), ""},
		"redirect to the rest":           {goes(path("/p/*"), router.Redirect(301, "/product/{*}")), ""},
		"redirect in a fallback":         {goes(path("/p/{id}"), router.Fallback(to, router.Redirect(301, "/{nope}"))), `none is {nope}`},
		"redirect with a brace":          {goes(path("/p/{id}"), router.Redirect(301, "/product/{id")), "is not closed"},
		"redirect without braces":        {goes(path("/p/{id}"), router.Redirect(301, "/product/{}")), "none is {}"},
		"redirect to a port":             {goes(path("/p"), router.Redirect(301, "localhost:8080/x")), "want one such as https://"},
		"redirect to no host":            {goes(path("/p"), router.Redirect(301, "https:///x")), "want one such as https://"},
		"redirect to a name":             {goes(path("/p"), router.Redirect(301, "www.shop.example/x")), "want one such as https://"},
		"redirect with a line":           {goes(path("/p"), router.Redirect(301, "/x\r\nSet-Cookie: a=b")), "want one such as https://"},
		"redirect, 300":                  {goes(path("/p"), router.Redirect(300, "/x")), "300 is no redirect"},
		"redirect to the path":           {goes(path("/p"), router.Redirect(308, "https://www.shop.example{path}{query}")), ""},
		"redirect to the path alone":     {goes(path("/p"), router.Redirect(308, "{path}?a=b")), ""},
		"method in lower case":           {when(router.Method("get")), `Method("get") never matches, methods are case-sensitive: want "GET"`},
		"method in mixed case":           {when(router.Method("GET", "Post")), `want "POST"`},
		"methods in one":                 {when(router.Method("GET,POST")), `want each by itself, such as Method("GET", "POST")`},
		"a method of one's own":          {when(router.Method("m-search")), ""},
		"host with a scheme":             {when(router.Host("https://shop.example")), "without scheme and port"},
		"host with dots":                 {when(router.Host("shop..example")), "without scheme and port"},
		"host with a star":               {when(router.Host("shop.*")), "or *.shop.example"},
		"host in letters":                {when(router.Host("bücher.example")), "xn--"},
		"host with a character":          {when(router.Host("shop,example")), "letters, digits"},
		"header with a colon":            {when(router.Header("X-Beta: 1")), "without colon and value"},
		"header Host":                    {when(router.Header("host", "a")), "want Host(...)"},
		"header that is taken off":       {when(router.Header("Transfer-Encoding")), "takes it off"},
		"header value with blanks":       {when(router.Header("X-Beta", " 1")), "without blanks"},
		"cookie with a value":            {when(router.Cookie("a=b")), "without value"},
		"cookie with a star":             {when(router.Cookie("wordpress_*")), "and whole"},
		"cookie value with blanks":       {when(router.Cookie("a", "b ")), "without blanks"},
		"a rate in years":                {[]router.Rule{{Name: "shop", To: to, Limit: router.Limit{Rate: 1e-9}}}, "one a day, or more"},
		"a nil matcher of a type":        {when((*router.AdminMatcher)(nil)), "When is a nil *router.AdminMatcher"},
		"a nil matcher inside":           {when(router.Not((*router.AdminMatcher)(nil))), "Not holds a nil Matcher"},
		"a nil pool":                     {goes(nil, (*pool)(nil)), "To is a nil *router_test.pool: the constructor"},
		"a nil func":                     {goes(nil, http.HandlerFunc(nil)), "To is a nil http.HandlerFunc"},
		"a fallback of nothing":          {goes(nil, router.Fallback(nil, to)), "fallback wraps a nil handler"},
		"a fallback to nothing":          {goes(nil, router.Fallback(to, nil)), "fallback wraps a nil handler"},
		"a fallback of a nil pool":       {goes(nil, router.Fallback((*pool)(nil), to)), "fallback wraps a nil handler"},
		"a nil pool below":               {goes(nil, wrapping{(*pool)(nil)}), "wraps a nil handler"},
		"a nil router":                   {goes(nil, (*router.Router)(nil)), "To is a nil *router.Router"},
		"a nil middleware":               {[]router.Rule{{Name: "shop", To: to, Use: []func(http.Handler) http.Handler{nil}}}, "Use holds a nil middleware"},
	} {
		rules := c.rules
		if rules[0].When == nil {
			rules = rules[:1]
		}
		_, err := router.New(router.Options{}, rules...)
		if c.want == "" && err != nil || c.want != "" && (!errors.Is(err, router.ErrRules) || !strings.Contains(fmt.Sprint(err), c.want)) {
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		}
	}
	if _, err := router.NewSplit("try", router.Arm{Name: "a", Weight: 1, To: (*pool)(nil)}); err == nil || !strings.Contains(err.Error(), "arm a has no handler") {
		t.Errorf("a split to a nil pool: %v", err)
	}
	if err := router.NewMirror(nil).Run(context.Background()); err == nil {
		t.Error("a mirror to nobody runs")
	}
	rt := mustNew(t, router.Rule{Name: "shop", To: to})
	if err := rt.Prove(router.Only(to).For((*router.AdminMatcher)(nil))); err == nil || !strings.Contains(err.Error(), "nil *router.AdminMatcher") {
		t.Errorf("a claim about nothing: %v", err)
	}
}

// Names in any form match the host in any form.
func TestHostForms(t *testing.T) {
	for _, c := range []struct{ given, host string }{
		{"Shop.Example", "SHOP.example:8080"},
		{"shop.example.", "shop.example"},
		{"::1", "[::1]:8080"},
		{"[::1]", "[0:0:0:0:0:0:0:1]"},
		{"[2001:DB8::0:1]", "[2001:db8::1]:443"},
		{"192.0.2.1", "192.0.2.1:80"},
		{"web_1.internal", "web_1.internal"},
	} {
		m := router.Host(c.given)
		rt := mustNew(t, router.Rule{Name: "a", When: m, To: say("it")}, router.Rule{Name: "rest", To: say("rest")})
		r := request("GET", "/")
		r.Host = c.host
		if !m.Match(r) || rt.Explain(r).Verdict != `rule "a"` {
			t.Errorf("Host(%q) does not match %s", c.given, c.host)
		}
	}
}

// IPv4 that is written as IPv6 is IPv4: as a deny rule it was open.
func TestMappedPrefixes(t *testing.T) {
	mapped := netip.MustParsePrefix("::ffff:10.0.0.0/104")
	rt := mustNew(t,
		router.Rule{Name: "theirs", When: router.Client(mapped), To: say("theirs")},
		router.Rule{Name: "ours", To: say("ours"), Allow: []netip.Prefix{netip.MustParsePrefix("::ffff:192.0.2.0/120")}},
	)
	for from, want := range map[string]string{
		"10.1.2.3:1": "theirs /", "[::ffff:10.1.2.3]:1": "theirs /", "192.0.2.7:1": "ours /", "[::ffff:192.0.2.7]:1": "ours /", "198.51.100.1:1": "403",
	} {
		r := request("GET", "/")
		r.RemoteAddr = from
		w := httptest.NewRecorder()
		rt.ServeHTTP(w, r)
		if got := w.Body.String(); got != want && !(w.Code == 403 && want == "403") {
			t.Errorf("%s: got %d %q, want %s", from, w.Code, got, want)
		}
	}
	both := netip.MustParsePrefix("::ffff:0:0/90")
	for _, rule := range []router.Rule{{Name: "shop", To: say("x"), Allow: []netip.Prefix{both}}, {Name: "a", To: say("x"), When: router.Client(both)}} {
		if _, err := router.New(router.Options{}, rule, router.Rule{Name: "rest", To: say("x")}); err == nil || !strings.Contains(err.Error(), "neither a network of IPv4 nor one of IPv6") {
			t.Errorf("%s: got %v", rule.Name, err)
		}
	}
}
