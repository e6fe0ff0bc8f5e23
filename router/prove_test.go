package router_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/foretier/foretier/health"
	"github.com/foretier/foretier/router"
)

// A pool is what a balancer's looks like from here.
type pool struct {
	http.Handler
	name  string
	bases []string
}

func newPool(name string, bases ...string) *pool { return &pool{say(name), name, bases} }

func (p *pool) Report() health.Report                           { return health.Report{Kind: "pool", Name: p.name} }
func (p *pool) String() string                                  { return "pool " + p.name }
func (p *pool) BasePaths() []string                             { return p.bases }
func (p *pool) RoundTrip(*http.Request) (*http.Response, error) { return nil, errors.ErrUnsupported }

// A wrapping shows what it wraps, as a cache's handler does.
type wrapping struct{ http.Handler }

func (w wrapping) Wraps() []http.Handler { return []http.Handler{w.Handler} }

func TestProve(t *testing.T) {
	origin, apps, based := newPool("origin"), newPool("apps"), newPool("based", "/admin")
	admin := router.Admin("/admin", "/cron.php")
	rule := func(name string, when router.Matcher, to http.Handler) router.Rule {
		return router.Rule{Name: name, When: when, To: to}
	}
	shop := rule("shop", nil, wrapping{apps})
	media := rule("media", router.Path("/media/*"), wrapping{router.Fallback(apps, origin)})
	cases := map[string]struct {
		claim  router.Claim
		rules  []router.Rule
		reach  string // rule and handler of the counterexample; "" if the claim holds
		opaque string // or what cannot be seen through
		check  func(*http.Request) bool
	}{
		"the right table": {rules: []router.Rule{rule("admin", admin, origin), media, shop}},
		"rule order": {rules: []router.Rule{media, rule("admin", admin, origin), shop},
			reach: `"media" pool apps`, check: func(r *http.Request) bool { return strings.HasPrefix(r.RequestURI, "/admin") }},
		"missing method": {rules: []router.Rule{rule("admin", router.All(router.Method("GET", "POST"), admin), origin), shop},
			reach: `"shop" pool apps`, check: func(r *http.Request) bool { return r.Method != "GET" && r.Method != "HEAD" && r.Method != "POST" }},
		"missing host": {rules: []router.Rule{rule("admin", router.All(router.Host("shop.example", "*.shop.example"), admin), origin), shop},
			reach: `"shop" pool apps`, check: func(r *http.Request) bool { return r.Host == "zz.invalid" }},
		"missing prefix":         {rules: []router.Rule{rule("admin", router.Admin("/admin"), origin), shop}, reach: `"shop" pool apps`},
		"prefix for a path":      {rules: []router.Rule{rule("admin", router.Path("/admin", "/admin/*", "/cron.php", "/cron.php/*"), origin), shop}, reach: `"shop" pool apps`},
		"an exception":           {rules: []router.Rule{rule("admin", admin.Except("/admin/ajax"), origin), shop}, reach: `"shop" pool apps`, check: func(r *http.Request) bool { return r.RequestURI == "/admin/ajax" }},
		"an excepted exception":  {claim: router.Only(origin).For(admin.Except("/admin/ajax")), rules: []router.Rule{rule("admin", admin.Except("/admin/ajax"), origin), shop}},
		"a header":               {rules: []router.Rule{rule("beta", router.Header("X-Beta", "1"), apps), rule("admin", admin, origin), shop}, reach: `"beta" pool apps`, check: func(r *http.Request) bool { return r.Header.Get("X-Beta") == "1" }},
		"a header, but":          {rules: []router.Rule{rule("beta", router.All(router.Not(admin), router.Header("X-Beta", "1")), apps), rule("admin", admin, origin), shop}},
		"a cookie":               {rules: []router.Rule{rule("admin", router.All(admin, router.Not(router.Cookie("preview"))), origin), shop}, reach: `"shop" pool apps`, check: func(r *http.Request) bool { _, err := r.Cookie("preview"); return err == nil }},
		"a network":              {rules: []router.Rule{rule("admin", router.All(admin, router.Client(netip.MustParsePrefix("10.0.0.0/8"))), origin), shop}, reach: `"shop" pool apps`, check: func(r *http.Request) bool { return !strings.HasPrefix(r.RemoteAddr, "10.") }},
		"a fallback that leaks":  {rules: []router.Rule{rule("admin", admin, router.Fallback(origin, apps)), shop}, reach: `"admin" pool apps`, check: func(r *http.Request) bool { return r.Method == "GET" }},
		"a fallback's other way": {claim: router.Only(apps).For(router.All(router.Path("/media/*"), router.Method("POST"))), rules: []router.Rule{rule("media", router.Path("/media/*"), router.Fallback(apps, origin)), shop}},
		"a base path makes it":   {rules: []router.Rule{rule("admin", admin, origin), rule("api", router.Path("/api/*"), based), shop}, reach: `"api" pool based`, check: func(r *http.Request) bool { return strings.HasPrefix(r.RequestURI, "/api/") }},
		"a base path hides it":   {rules: []router.Rule{rule("de", router.Path("/de/*"), newPool("de", "/shop")), rule("admin", admin, origin), shop}, reach: `"de" pool de`},
		"a harmless base path":   {rules: []router.Rule{rule("admin", admin, origin), rule("shop", nil, newPool("apps", "/shop"))}},
		"a function":             {rules: []router.Rule{rule("admin", router.All(admin, router.Test("office", func(*http.Request) bool { return true })), origin), shop}, reach: `"shop" pool apps`},
		"an expression":          {rules: []router.Rule{rule("n", router.Path("/{a:[a-z]+}/x"), origin), rule("admin", admin, origin), shop}},
		"an expression, wrong":   {rules: []router.Rule{rule("n", router.Path("/{a:[a-z]+}/x"), apps), rule("admin", admin, origin), shop}, reach: `"n" pool apps`},
		"a router below":         {rules: []router.Rule{rule("admin", router.Path("/admin/*"), origin), rule("shop", nil, mustNew(t, rule("in", admin, origin), rule("else", nil, apps)))}},
		"a router below, wrong":  {rules: []router.Rule{rule("shop", nil, mustNew(t, rule("in", router.Admin("/admin"), origin), rule("else", nil, apps)))}, reach: `"else" pool apps`},
		"a prefix stripped":      {rules: []router.Rule{rule("old", router.Path("/old/*"), http.StripPrefix("/old", apps)), rule("admin", admin, origin), shop}, opaque: `http.HandlerFunc of rule "old"`},
		"everything":             {claim: router.Only(origin, apps), rules: []router.Rule{rule("admin", admin, origin), media, shop}},
		"everything, wrong":      {claim: router.Only(apps), rules: []router.Rule{rule("admin", admin, origin), media, shop}, reach: `"admin" pool origin`},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			rt := mustNew(t, c.rules...)
			claim := c.claim
			if claim.Only == nil {
				claim = router.Only(origin).For(admin)
			}
			err := rt.Prove(claim)
			var ce *router.Counterexample
			switch {
			case c.opaque != "":
				if !errors.Is(err, router.ErrOpaque) || !strings.Contains(err.Error(), c.opaque) {
					t.Fatalf("got %v, want an ErrOpaque about %s", err, c.opaque)
				}
			case c.reach == "":
				if err != nil {
					t.Fatal(err)
				}
			case !errors.As(err, &ce):
				t.Fatalf("got %v, want a counterexample", err)
			default:
				if got := fmt.Sprintf("%q %s", ce.Rule, ce.Handler); got != c.reach {
					t.Errorf("got %s, want %s: %v", got, c.reach, err)
				}
				if c.check != nil && !c.check(ce.Request) {
					t.Errorf("the request does not show the mistake: %v", err)
				}
				if ce.Outgoing == "" && claim.Of != nil && !claim.Of.Match(ce.Request) {
					t.Errorf("the request is not the claim's: %v", err)
				}
				// It does what it says, unless a function must say otherwise.
				w := httptest.NewRecorder()
				rt.ServeHTTP(w, ce.Request)
				if got, _, _ := strings.Cut(w.Body.String(), " "); len(ce.Assuming) == 0 && ce.Rule != "admin" && "pool "+got != fmt.Sprint(ce.Handler) {
					t.Errorf("%v: but served by %s", err, got)
				}
			}
		})
	}
}

// What a request may have besides what rules name, and several of it at once, is
// tried too.
func TestProofsKnowWhatRequestsMayHave(t *testing.T) {
	origin, apps := newPool("origin"), newPool("apps")
	admin, not := router.Admin("/admin"), router.Not
	both := func(a, b router.Matcher) []router.Matcher {
		return []router.Matcher{router.All(admin, not(a)), router.All(admin, not(b))}
	}
	net := netip.MustParsePrefix
	cases := map[string]struct {
		of   router.Matcher
		ours []router.Matcher // go to origin
	}{
		"two cookies of a name":        {admin, both(router.Cookie("v", "a"), router.Cookie("v", "b"))},
		"two lines of a header":        {admin, both(router.Header("X-V", "a"), router.Header("X-V", "b"))},
		"a named one and another":      {admin, []router.Matcher{router.All(admin, not(router.Cookie("v", "a"))), router.All(router.Cookie("v", "a"), not(router.Cookie("v", "b")))}},
		"a cookie in quotes":           {admin, []router.Matcher{router.All(admin, not(router.Cookie("v", `"a"`)))}},
		"a client between two":         {router.Client(net("10.0.0.0/8")), []router.Matcher{router.Client(net("10.0.0.0/9"), net("10.192.0.0/10"))}},
		"a client above one":           {router.Client(net("2001:db8::/32")), []router.Matcher{router.Client(net("2001:db8::/33"), net("2001:db8:ffff:ffff:ffff:ffff:ffff:ffff/128"))}},
		"a path that looks like none":  {router.Path("/p/*"), []router.Matcher{router.Path("/p/", "/p/zz", "/p/q", "/p/zz/zz")}},
		"a host that looks like none":  {router.Host("*.shop.example"), []router.Matcher{router.Host("zz.shop.example")}},
		"a value that looks so":        {router.Header("X-V"), []router.Matcher{router.Header("X-V", "zz")}},
		"a method that looks so":       {admin, []router.Matcher{router.All(admin, router.Method("GET", "POST", "PUT", "ZZ"))}},
		"two parameters of a name":     {admin, both(router.Query("v", "a"), router.Query("v", "b"))},
		"another parameter":            {router.Query("v"), []router.Matcher{router.Query("v", "zz", "a&b")}},
		"the other scheme":             {admin, []router.Matcher{router.All(admin, router.Scheme("http"))}},
		"a part and not the whole":     {router.HeaderContains("X-V", "a"), []router.Matcher{router.Header("X-V", "a", "aa", "za", "az", "zzaz")}},
		"two parts in two lines":       {admin, both(router.HeaderContains("X-V", "a"), router.HeaderContains("X-V", "b"))},
		"parts of what is named":       {router.HeaderContains("X-V", "z"), []router.Matcher{router.HeaderContains("X-V", "zz")}},
		"a line that an expression":    {router.Header("X-V"), []router.Matcher{router.HeaderRegexp("X-V", "^q")}},
		"a shorter ending":             {router.PathSuffix(".png"), []router.Matcher{router.PathSuffix("z.png", "g.png", "/.png")}},
		"an ending below a path":       {router.PathSuffix(".png"), []router.Matcher{router.Not(router.Path("/media/*"))}},
		"an ending that is a path":     {router.PathSuffix("/edit"), []router.Matcher{router.Not(router.Path("/edit"))}},
		"an ending of a parameter":     {router.PathSuffix(".png"), []router.Matcher{router.Not(router.Path("/p/{id}"))}},
		"an ending of admin's":         {admin, []router.Matcher{router.All(admin, router.Not(router.PathSuffix(".js")))}},
		"an ending of admin's, hidden": {admin, []router.Matcher{router.All(admin, router.Not(router.PathSuffix(".js"))), router.Path("/admin/*")}},
		"no host at all":               {not(router.Host("shop.example")), []router.Matcher{router.Host("*.invalid")}},
	}
	for name, c := range cases {
		var rules []router.Rule
		for i, m := range c.ours {
			rules = append(rules, router.Rule{Name: fmt.Sprint("ours", i), When: m, To: origin})
		}
		rt := mustNew(t, append(rules, router.Rule{Name: "shop", To: apps})...)
		err := rt.Prove(router.Only(origin).For(c.of))
		var ce *router.Counterexample
		if !errors.As(err, &ce) {
			t.Errorf("%s: got %v, want a counterexample", name, err)
			continue
		}
		if got := rt.Explain(ce.Request).Verdict; got != `rule "shop"` || !c.of.Match(ce.Request) {
			t.Errorf("%s: %v: but taken by %s", name, err, got)
		}
	}
}

// What is far below a rule is proved too.
func TestProofsGoDownToTheEnd(t *testing.T) {
	origin, apps := newPool("origin"), newPool("apps")
	var deep http.Handler = apps
	for range 100 {
		deep = wrapping{deep}
	}
	var ce *router.Counterexample
	if err := mustNew(t, router.Rule{Name: "shop", To: deep}).Prove(router.Only(origin)); !errors.As(err, &ce) || ce.Handler != apps {
		t.Errorf("got %v, want a counterexample", err)
	}
}

// A chain that leads back to itself in two ways ends, and what else is in it is
// proved.
func TestAChainThatLeadsBackToItself(t *testing.T) {
	origin, apps := newPool("origin"), newPool("apps")
	retries := &crossing{Handler: apps}
	retries.ways = []http.Handler{retries, router.Fallback(retries, wrapping{retries}), apps}
	rt := mustNew(t, router.Rule{Name: "shop", To: retries})
	if err := rt.Prove(router.Only(apps)); err != nil {
		t.Error(err)
	}
	var ce *router.Counterexample
	if err := rt.Prove(router.Only(origin)); !errors.As(err, &ce) || ce.Handler != apps {
		t.Errorf("got %v, want a counterexample", err)
	}
}

// A crossing wraps what it is told to, itself too.
type crossing struct {
	http.Handler
	ways []http.Handler
}

func (c *crossing) Wraps() []http.Handler { return c.ways }

func TestCounterexampleSaysWhatItAssumes(t *testing.T) {
	origin, apps := newPool("origin"), newPool("apps")
	admin := router.Admin("/admin")
	never := router.Test("member", func(*http.Request) bool { return false })
	rt := mustNew(t, router.Rule{Name: "member", When: never, To: apps}, router.Rule{Name: "admin", When: admin, To: origin}, router.Rule{Name: "shop", To: apps})
	err := rt.Prove(router.Only(origin).For(admin))
	want := `reaches pool apps by rule "member", if Test("member") says yes`
	if err == nil || !strings.HasSuffix(err.Error(), want) {
		t.Errorf("got %v, want ...%s", err, want)
	}
}

func TestUpdateKeepsClaims(t *testing.T) {
	origin, apps := newPool("origin"), newPool("apps")
	admin := router.Admin("/admin")
	good := []router.Rule{{Name: "admin", When: admin, To: origin}, {Name: "shop", To: apps}}
	rt, err := router.New(router.Options{Claims: []router.Claim{router.Only(origin).For(admin)}}, good...)
	if err != nil {
		t.Fatal(err)
	}
	err = rt.Update(router.Rule{Name: "shop", To: apps})
	var ce *router.Counterexample
	if !errors.Is(err, router.ErrRules) || !errors.As(err, &ce) {
		t.Errorf("got %v", err)
	}
	if got := get(rt, "/admin").Body.String(); got != "origin /admin" {
		t.Errorf("after a refused update: %q", got)
	}
	if err := rt.Update(good...); err != nil {
		t.Error(err)
	}
}

// bigTable is 200 rules of all kinds, admin first.
func bigTable(admin router.Matcher, origin, apps http.Handler) []router.Rule {
	rules := []router.Rule{{Name: "admin", When: admin, To: origin}}
	for i := range 198 {
		name := fmt.Sprintf("r%d", i)
		var when router.Matcher
		switch i % 4 {
		case 0:
			when = router.Path("/" + name + "/*")
		case 1:
			when = router.All(router.Host(name+".example"), router.Method("POST"), router.Path("/x/{id}/"+name))
		case 2:
			when = router.Any(router.Path("/"+name+"/{id:[0-9]+}"), router.All(router.Cookie(name), router.Header("X-"+name, "1")))
		case 3:
			when = router.All(router.Client(netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i), 0, 0}), 16)), router.Not(router.Path("/y/"+name)))
		}
		rules = append(rules, router.Rule{Name: name, When: when, To: apps})
	}
	return append(rules, router.Rule{Name: "shop", To: apps})
}

func TestProveIsQuick(t *testing.T) {
	origin, apps := newPool("origin"), newPool("apps")
	admin := router.Admin("/admin", "/cron.php")
	rt := mustNew(t, bigTable(admin, origin, apps)...)
	began := time.Now()
	if err := rt.Prove(router.Only(origin).For(admin)); err != nil {
		t.Error(err)
	}
	t.Logf("200 rules: %s", time.Since(began))
	began = time.Now()
	if err := rt.Prove(router.Only(origin, apps)); err != nil {
		t.Error(err)
	}
	t.Logf("200 rules, of every request: %s", time.Since(began))
}

func BenchmarkProve(b *testing.B) {
	origin, apps := newPool("origin"), newPool("apps")
	admin := router.Admin("/admin", "/cron.php")
	rt := mustNew(b, bigTable(admin, origin, apps)...)
	for b.Loop() {
		if err := rt.Prove(router.Only(origin).For(admin)); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkNew(b *testing.B) {
	rules := bigTable(router.Admin("/admin", "/cron.php"), newPool("origin"), newPool("apps"))
	for b.Loop() {
		if _, err := router.New(router.Options{}, rules...); err != nil {
			b.Fatal(err)
		}
	}
}

// TestReportTellsOfClaims, and when they were proved last.
func TestReportTellsOfClaims(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		origin := &pool{name: "origin"}
		admin := router.Admin("/admin")
		rules := []router.Rule{{Name: "admin", When: admin, To: origin}, {Name: "shop", To: &pool{name: "apps"}}}
		rt, err := router.New(router.Options{Claims: []router.Claim{router.Only(origin).For(admin)}}, rules...)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		if err := rt.Update(rules...); err != nil {
			t.Fatal(err)
		}
		now := time.Now()
		time.Sleep(time.Hour)
		if err := rt.Update(rules[1:]...); err == nil {
			t.Fatal("a table that breaks the claim is taken")
		}
		events := rt.Report().Events
		if len(events) != 1 || !events[0].Time.Equal(now) || !strings.HasPrefix(events[0].Text, "proved: ") || !strings.Contains(events[0].Text, "origin") {
			t.Errorf("%+v, want one at %v", events, now)
		}
	})
}
