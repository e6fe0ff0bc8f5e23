package routertest_test

import (
	"io"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"github.com/foretier/foretier/health"
	"github.com/foretier/foretier/router"
	"github.com/foretier/foretier/router/routertest"
)

// A pool answers with its name, and explains itself as balancer's do.
type pool string

func (p pool) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	w.Header().Set("X-Pool", string(p))
	_, _ = io.WriteString(w, string(p)+" got "+string(body))
}

func (p pool) Explain(*http.Request) health.Decision {
	return health.Decision{Part: "pool " + string(p), Verdict: "web1"}
}

// A guarded pool refuses everything.
type guarded struct{ pool }

func (g guarded) Explain(*http.Request) health.Decision {
	return health.Decision{Part: "pool " + string(g.pool), Verdict: "refused"}
}

func mustRouter(t *testing.T, rules ...router.Rule) *router.Router {
	t.Helper()
	rt, err := router.New(router.Options{}, rules...)
	if err != nil {
		t.Fatal(err)
	}
	return rt
}

func newShop(t *testing.T) *router.Router {
	moved, err := router.ReadRedirects(strings.NewReader("/old.html,/new\n"))
	if err != nil {
		t.Fatal(err)
	}
	// bcrypt of "sesame", at its least cost
	accounts, err := router.NewBasic(router.BasicOptions{Users: map[string]string{"ann": "$2a$04$wCTbq5ABJUvZtsoyQnpZauhMBXx9zFX7lKBlXQyEpkXs4LRmXJIp."}})
	if err != nil {
		t.Fatal(err)
	}
	return mustRouter(t,
		router.Rule{Name: "admin", When: router.Admin("/admin", "/cron.php"), To: pool("origin")},
		router.Rule{Name: "moved", When: moved, To: moved},
		router.Rule{Name: "intern", When: router.Path("/intern"), Allow: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}, To: pool("origin")},
		router.Rule{Name: "staging", When: router.Path("/staging"), Use: []func(http.Handler) http.Handler{accounts.Handler}, To: pool("apps")},
		router.Rule{Name: "login", When: router.Path("/login"), Limit: router.Limit{Rate: 0.001, Burst: 1}, MaxBody: 10, To: pool("apps")},
		router.Rule{Name: "secure", When: router.Scheme("https"), To: pool("apps")},
		router.Rule{Name: "media", When: router.Path("/media/*"), To: router.Fallback(pool("apps"), pool("origin"))},
		router.Rule{Name: "shop", To: pool("apps")},
	)
}

func TestTableExpectsAnswers(t *testing.T) {
	rt := newShop(t)
	routertest.Table(t, rt,
		routertest.Row{Target: "/old.html?a=1", Status: 301, Has: []string{"Location: /new?a=1", "!X-Pool"}, Pool: routertest.None},
		routertest.Row{Target: "/old.html", Rule: "moved"},
		routertest.Row{Target: "/intern", Status: 403, Rule: "intern", Pool: routertest.None},
		routertest.Row{Target: "/intern", Client: "10.0.0.7", Status: 200, Pool: "origin"},
		routertest.Row{Target: "/staging", Status: 401, Has: []string{"WWW-Authenticate: Basic"}},
		routertest.Row{Method: "POST", Target: "/login", Send: "0123456789!", Status: 413},
		routertest.Row{Method: "POST", Target: "/login", Send: "me", Status: 200, Body: "apps got me"},
		routertest.Row{Method: "POST", Target: "/login", Send: "me", Status: 429, Has: []string{"Retry-After"}},
		routertest.Row{Target: "/", Secure: true, Rule: "secure"},
		routertest.Row{Target: "/%61dmin", Pool: "origin", Status: 200},
		routertest.Row{Target: "/../x"},
	)
	cases := map[string]struct {
		row  routertest.Row
		says []string
	}{
		"status":    {routertest.Row{Target: "/old.html", Status: 200}, []string{"GET /old.html\n", "status: got 301 Moved Permanently, want 200 OK", `because router: rule "moved"`}},
		"body":      {routertest.Row{Target: "/", Body: "origin"}, []string{`body: got "apps got ", want "origin" in it`}},
		"pool":      {routertest.Row{Target: "/", Pool: "origin"}, []string{"reaches pool apps, want origin"}},
		"two pools": {routertest.Row{Target: "/media/a", Pool: "apps"}, []string{"reaches pool origin, want apps"}},
		"no pool":   {routertest.Row{Target: "/old.html", Pool: "apps"}, []string{"reaches no pool, want apps"}},
		"none":      {routertest.Row{Target: "/", Pool: routertest.None}, []string{"reaches pool apps, want none"}},
		"refused":   {routertest.Row{Target: "/"}, []string{`taken by rule "shop", want it taken by no rule`}},
		"unread":    {routertest.Row{Target: "x", Status: 200}, []string{"refuses it"}},
	}
	for name, c := range cases {
		s := &spy{TB: t}
		routertest.Table(s, rt, c.row)
		if len(s.failures) != 1 {
			t.Errorf("%s: %d failures: %q", name, len(s.failures), s.failures)
			continue
		}
		for _, want := range c.says {
			if !strings.Contains(s.failures[0], want) {
				t.Errorf("%s: %q is not in\n%s", name, want, s.failures[0])
			}
		}
	}
}

func TestReaches(t *testing.T) {
	rt := newShop(t)
	routertest.Reaches(t, rt, "origin", "/admin", "/cron.php")
	routertest.Reaches(t, rt, "apps", "/", "/product/1")
	routertest.Reaches(t, mustRouter(t, router.Rule{Name: "all", To: router.Maintenance(0)}), routertest.None, "/anything")
	own := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
	cases := map[string]struct {
		front *router.Router
		pool  string
		path  string
		says  string
	}{
		"a pattern for an admin rule": {mustRouter(t, router.Rule{Name: "admin", When: router.Path("/admin", "/admin/*"), To: pool("origin")}, router.Rule{Name: "all", To: pool("apps")}), "origin", "/admin", "reaches pool apps, want origin"},
		"by one method":               {mustRouter(t, router.Rule{Name: "admin", When: router.All(router.Admin("/admin"), router.Method("GET", "POST")), To: pool("origin")}, router.Rule{Name: "all", To: pool("apps")}), "origin", "/admin", "FOO "},
		"another pool":                {rt, "apps", "/admin", "other ways of asking for /admin"},
		"behind a fallback":           {rt, "apps", "/media/a", "reaches pool origin"},
		"no pool at all":              {mustRouter(t, router.Rule{Name: "all", To: router.Maintenance(0)}), "origin", "/admin", "GET /admin\n\treaches no pool, want origin"},
		"a pool that refuses it":      {mustRouter(t, router.Rule{Name: "all", To: guarded{"origin"}}), "origin", "/admin", "reaches no pool"},
		"not what reaches none":       {rt, routertest.None, "/admin", "reaches pool origin, want none"},
		"nobody knows":                {mustRouter(t, router.Rule{Name: "all", To: own}), "origin", "/admin", "does not explain itself"},
	}
	for name, c := range cases {
		s := &spy{TB: t}
		routertest.Reaches(s, c.front, c.pool, c.path)
		if len(s.failures) != 1 || !strings.Contains(s.failures[0], c.says) {
			t.Errorf("%s: got %q, want %q", name, s.failures, c.says)
		}
	}
}
