package router_test

import (
	"errors"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"github.com/foretier/foretier/router"
)

// narrower reports whether New finds that a rule for narrow is never reached
// behind one for wide.
func narrower(t *testing.T, wide, narrow router.Matcher) bool {
	t.Helper()
	to := say("x")
	_, err := router.New(router.Options{}, router.Rule{Name: "a", When: wide, To: to}, router.Rule{Name: "b", When: narrow, To: to}, router.Rule{Name: "rest", To: to})
	if err != nil && (!errors.Is(err, router.ErrRules) || !strings.Contains(err.Error(), `"b" is never reached`)) {
		t.Fatal(err)
	}
	return err != nil
}

func TestRulesThatAreNeverReached(t *testing.T) {
	path, all, any, not := router.Path, router.All, router.Any, router.Not
	method, host, header, cookie := router.Method, router.Host, router.Header, router.Cookie
	client := func(nets ...string) router.Matcher {
		var list []netip.Prefix
		for _, n := range nets {
			list = append(list, netip.MustParsePrefix(n))
		}
		return router.Client(list...)
	}
	test := router.Test("t", func(*http.Request) bool { panic("it is asked") })
	admin := router.Admin("/admin")
	cases := map[string]struct {
		wide, narrow router.Matcher
		want         bool
	}{
		"a network within":              {client("10.0.0.0/8"), client("10.1.0.0/16"), true},
		"two networks around":           {client("10.0.0.0/9", "10.128.0.0/9"), client("10.0.0.0/8"), true},
		"a hole between networks":       {client("10.0.0.0/9", "10.192.0.0/10"), client("10.0.0.0/8"), false},
		"another method":                {not(method("GET")), method("POST"), true},
		"HEAD is of GET":                {not(method("GET")), method("HEAD"), false},
		"no more than a method":         {method("HEAD"), method("GET"), false},
		"any method that is named":      {method("GET", "POST", "PUT", "ZZ"), not(method("DELETE")), false},
		"a value of a header":           {header("X-V"), header("X-V", "1"), true},
		"a header of two lines":         {not(header("X-V", "2")), header("X-V", "1"), false},
		"both lines":                    {all(header("X-V", "1"), header("X-V", "2")), all(header("X-V", "2"), header("X-V", "1"), path("/a")), true},
		"a cookie in quotes":            {cookie("v", "a"), cookie("v", `"a"`), true},
		"a cookie without":              {cookie("v", `"a"`), cookie("v", "a"), false},
		"hosts below":                   {host("*.example"), host("*.shop.example", "a.example"), true},
		"a host that looks like any":    {host("zz.example"), host("*.example"), false},
		"by cases":                      {any(all(path("/a"), host("h")), all(path("/a"), not(host("h")))), path("/a"), true},
		"not by cases":                  {any(all(path("/a"), host("h")), all(path("/b"), not(host("h")))), path("/a"), false},
		"a function":                    {test, all(path("/a"), test), true},
		"not the function":              {not(test), all(path("/a"), test), false},
		"admin":                         {admin, all(admin, method("POST")), true},
		"more admin":                    {admin.Except("/admin/x"), admin, false},
		"an expression":                 {path("/{n:[0-9]+}"), path("/{n:[a-z]+}"), false},
		"the same expression":           {path("/x", "/{n:[0-9]+}"), all(host("h"), path("/{n:[0-9]+}")), true},
		"paths that look like any":      {path("/p/", "/p/{x}", "/p/{x}/{y}"), path("/p/*"), false},
		"paths below":                   {path("/p/*"), path("/p/", "/p/{x}", "/p/{x}/{y}"), true},
		"what looks like a parameter's": {path("/{y}g"), path("/{x}.png"), false},
		"not below":                     {not(path("/p/*")), path("/q"), false}, // that they are apart is not known
		"a query's value":               {router.Query("q"), router.Query("q", "1"), true},
		"another value":                 {router.Query("q", "1"), router.Query("q", "1", "2"), false},
		"both schemes":                  {any(router.Scheme("http"), router.Scheme("https")), path("/x"), true},
		"one scheme":                    {router.Scheme("http"), path("/x"), false},
		"a shorter part":                {router.HeaderContains("X-V", "a"), router.HeaderContains("X-V", "ab"), true},
		"a part of a value":             {router.HeaderContains("X-V", "a"), header("X-V", "cab"), true},
		"a longer part":                 {router.HeaderContains("X-V", "ab"), router.HeaderContains("X-V", "a"), false},
		"an expression's field":         {header("X-V"), router.HeaderRegexp("X-V", "a"), true},
		"a value of an expression":      {router.HeaderRegexp("X-V", "a"), header("X-V", "a"), false}, // it is not looked into
		"a shorter ending":              {router.PathSuffix(".png"), router.PathSuffix("x.png", "y.png"), true},
		"a longer ending":               {router.PathSuffix("x.png"), router.PathSuffix(".png"), false},
		"an ending of a path":           {router.PathSuffix(".png"), path("/a.png", "/{x}.png", "/{x}/{n:[0-9]{2}}.png"), true},
		"an ending of a parameter":      {router.PathSuffix(".png"), path("/{x}"), false},
		"an ending of what is below":    {router.PathSuffix("g"), path("/png*"), false},
		"all paths":                     {path("/*"), router.PathSuffix(".png"), true},
		"what matches nothing":          {path("/a"), all(method("GET"), method("POST")), false},
	}
	for name, c := range cases {
		if got := narrower(t, c.wide, c.narrow); got != c.want {
			t.Errorf("%s: %s behind %s: never reached: %t", name, c.narrow, c.wide, got)
		}
	}
}

// What many parts make hard to tell is told, or taken for reachable, at once.
func TestReachIsKnownSoon(t *testing.T) {
	var parts, turned []router.Matcher
	for i := range 30 {
		name := string(rune('a'+i/26)) + string(rune('a'+i%26))
		part := router.All(router.Header("X-"+name), router.Path("/"+name+"/*"))
		parts, turned = append(parts, part), append([]router.Matcher{part}, turned...)
	}
	if !narrower(t, router.Any(parts...), router.Any(turned...)) {
		t.Error("the same in another order is not known")
	}
	narrower(t, router.All(parts...), router.Not(router.Any(turned...)))
	narrower(t, router.Not(router.All(parts...)), router.Any(turned...))
}

// A rule that New calls unreachable is: no request reaches it.
func TestNoRequestReachesWhatIsNeverReached(t *testing.T) {
	c := newCorpus()
	found := 0
	for range 4000 {
		wide, narrow := c.matcher(2), c.matcher(2)
		if wide.String() == narrow.String() || !narrower(t, wide, narrow) {
			continue
		}
		found++
		for range 300 {
			if r := c.request(); narrow.Match(r) && !wide.Match(r) {
				t.Errorf("%s behind %s is reached by %s %s of %s from %s %v", narrow, wide, r.Method, r.RequestURI, r.Host, r.RemoteAddr, r.Header)
				break
			}
		}
	}
	if found < 100 {
		t.Errorf("only %d found", found)
	}
}
