package routertest_test

import (
	"net/http"
	"net/netip"
	"testing"

	"github.com/foretier/foretier/router"
	"github.com/foretier/foretier/router/routertest"
)

// What a test of one's own says of a table of rules.
func ExampleTable() {
	newFront := func(t *testing.T) *router.Router { // as main makes it
		front, err := router.New(router.Options{},
			router.Rule{Name: "admin", When: router.Admin("/admin"), To: http.NotFoundHandler()},
			router.Rule{Name: "old", When: router.Path("/old/{id}"), To: router.Redirect(301, "/product/{id}")},
			router.Rule{Name: "intern", When: router.Path("/intern"), Allow: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}, To: http.NotFoundHandler()},
			router.Rule{Name: "shop", To: http.NotFoundHandler()},
		)
		if err != nil {
			t.Fatal(err)
		}
		return front
	}
	TestRules := func(t *testing.T) {
		routertest.Table(t, newFront(t),
			routertest.Row{Target: "/product/1", Rule: "shop"},
			routertest.Row{Target: "/index.php/%61dmin", Rule: "admin"},
			routertest.Row{Target: "/old/42", Status: 301, Has: []string{"Location: /product/42"}, Pool: routertest.None},
			routertest.Row{Target: "/intern", Client: "203.0.113.9", Status: 403},
			routertest.Row{Target: "/intern", Client: "10.0.0.7", Rule: "intern"},
			routertest.Row{Target: "/../x"}, // refused
		)
	}
	_ = TestRules // as a function of a _test.go file
}

// These paths reach only the origin, however they are written.
func ExampleReaches() {
	TestAdmin := func(t *testing.T) {
		front := newShop(t) // whose pools are named origin and apps
		routertest.Bypass(t, front, "/admin")
		routertest.Reaches(t, front, "origin", "/admin", "/cron.php")
	}
	_ = TestAdmin // as a function of a _test.go file
}
