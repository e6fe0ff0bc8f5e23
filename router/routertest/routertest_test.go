package routertest_test

import (
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"github.com/foretier/foretier/router"
	"github.com/foretier/foretier/router/routertest"
)

// A spy is a testing.TB that remembers what failed.
type spy struct {
	testing.TB
	failures []string
}

func (s *spy) Helper() {}
func (s *spy) Errorf(format string, args ...any) {
	s.failures = append(s.failures, fmt.Sprintf(format, args...))
}

func table(t *testing.T, admin router.Matcher) *router.Router {
	to := http.NotFoundHandler()
	rt, err := router.New(router.Options{},
		router.Rule{Name: "admin", When: admin, To: to},
		router.Rule{Name: "office", When: router.Client(netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("2001:db8::/32")), To: to},
		router.Rule{Name: "beta", When: router.All(router.Host("beta.example"), router.Header("X-Beta")), To: to},
		router.Rule{Name: "upload", When: router.All(router.Method("PUT"), router.Path("/media/*")), To: to},
		router.Rule{Name: "shop", To: to},
	)
	if err != nil {
		t.Fatal(err)
	}
	return rt
}

func TestTable(t *testing.T) {
	rt := table(t, router.Admin("/admin"))
	routertest.Table(t, rt,
		routertest.Row{Target: "/", Rule: "shop"},
		routertest.Row{Target: "/%61dmin", Rule: "admin"},
		routertest.Row{Target: "/../x"},
		routertest.Row{Target: "x"},
		routertest.Row{Method: "PUT", Target: "/media/a", Rule: "upload"},
		routertest.Row{Target: "/", Client: "10.1.1.1", Rule: "office"},
		routertest.Row{Target: "/", Client: "2001:db8::1", Rule: "office"},
		routertest.Row{Target: "/", Client: "[2001:db8::1]:5", Rule: "office"},
		routertest.Row{Target: "/", Host: "beta.example", Header: http.Header{"X-Beta": {"1"}}, Rule: "beta"},
	)
	s := &spy{TB: t}
	routertest.Table(s, rt, routertest.Row{Target: "/ADMIN", Rule: "shop"}, routertest.Row{Target: "y", Rule: "shop"}, routertest.Row{Target: "/z"})
	if len(s.failures) != 3 || !strings.Contains(s.failures[0], `Admin("/admin") matches /ADMIN`) {
		t.Errorf("got %q", s.failures)
	}
}

func TestBypass(t *testing.T) {
	routertest.Bypass(t, table(t, router.Admin("/admin")), "/admin")
	routertest.Bypass(t, table(t, router.Admin("/shop/backend", "/cron.php")), "/shop/backend")
	routertest.Bypass(t, table(t, router.Admin("/cron.php")), "/cron.php")
	for name, wrong := range map[string]router.Matcher{
		"a pattern":   router.Path("/admin", "/admin/*"),
		"by method":   router.All(router.Admin("/admin"), router.Method("GET")),
		"another one": router.Admin("/other"),
	} {
		s := &spy{TB: t}
		routertest.Bypass(s, table(t, wrong), "/admin")
		if len(s.failures) == 0 {
			t.Errorf("%s: nothing found", name)
		}
	}
	if n := len(routertest.Forms("/admin")); n < 500 {
		t.Errorf("only %d forms", n)
	}
}

// The root is a path, too.
func TestFormsOfTheRoot(t *testing.T) {
	if n := len(routertest.Forms("/")); n < 100 {
		t.Errorf("only %d forms", n)
	}
}
