package router_test

import (
	"errors"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/foretier/foretier/router"
)

// The tier's own answers reach nobody: whatever is claimed holds for them, and
// maintenance can begin at the moment it is needed.
func TestOwnAnswersKeepEveryClaim(t *testing.T) {
	origin, apps := newPool("origin"), newPool("apps")
	admin := router.Admin("/admin")
	office := netip.MustParsePrefix("192.0.2.0/24")
	good := []router.Rule{{Name: "admin", When: admin, To: origin}, {Name: "shop", To: apps}}
	for name, to := range map[string]http.Handler{
		"maintenance":    router.Maintenance(10 * time.Minute),
		"not authority":  router.NotAuthority("web0"),
		"redirect":       router.Redirect(308, "https://shop.example{path}{query}"),
		"404":            http.NotFoundHandler(),
		"http's":         http.RedirectHandler("/", http.StatusFound),
		"behind another": wrapping{router.Maintenance(time.Minute)},
		"in a fallback":  router.Fallback(origin, http.NotFoundHandler()),
	} {
		for _, claim := range []router.Claim{router.Only(origin).For(admin), router.Only(origin, apps)} {
			rt, err := router.New(router.Options{Claims: []router.Claim{claim}}, good...)
			if err != nil {
				t.Fatal(err)
			}
			rule := router.Rule{Name: "own", When: router.Not(router.Client(office)), To: to}
			if err := rt.Update(append([]router.Rule{rule}, good...)...); err != nil {
				t.Errorf("%s, %s: %v", name, claim, err)
			}
		}
	}
	rt := mustNew(t, router.Rule{Name: "closed", To: router.Maintenance(time.Minute)})
	if err := rt.Prove(router.Only()); err != nil {
		t.Errorf("nothing is reached: %v", err)
	}
}

// Whom a rule does not allow gets 403 of it, and reaches nobody.
func TestClaimsKnowAllow(t *testing.T) {
	origin, apps := newPool("origin"), newPool("apps")
	admin := router.Admin("/admin")
	office, desk := netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("192.0.2.7/32")
	rt := mustNew(t, router.Rule{Name: "admin", When: admin, To: origin, Allow: []netip.Prefix{office}}, router.Rule{Name: "shop", To: apps})
	if err := rt.Prove(router.Only().For(router.All(admin, router.Not(router.Client(office))))); err != nil {
		t.Errorf("from outside the office: %v", err)
	}
	var ce *router.Counterexample
	err := rt.Prove(router.Only().For(router.All(admin, router.Not(router.Client(desk)))))
	if !errors.As(err, &ce) || !strings.HasPrefix(ce.Request.RemoteAddr, "192.0.2.") || strings.HasPrefix(ce.Request.RemoteAddr, "192.0.2.7:") {
		t.Errorf("from another desk of the office: %v", err)
	}
}

// A byValue is a handler that cannot be compared.
type byValue struct{ f []func() }

func (byValue) ServeHTTP(http.ResponseWriter, *http.Request) {}

func TestClaimsNameFunctions(t *testing.T) {
	origin := newPool("origin")
	through := func(h http.Handler) http.Handler { return http.HandlerFunc(h.ServeHTTP) }
	one, other := through(newPool("one")), through(newPool("two"))
	rt := mustNew(t, router.Rule{Name: "one", When: router.Path("/one"), To: one}, router.Rule{Name: "rest", To: origin})
	if err := rt.Prove(router.Only(one, origin)); err != nil {
		t.Errorf("a function that is named: %v", err)
	}
	err := rt.Prove(router.Only(other, origin))
	if !errors.Is(err, router.ErrOpaque) || !strings.Contains(err.Error(), `rule "one"`) || !strings.Contains(err.Error(), "want it in Only, or a type with a method Wraps()") {
		t.Errorf("another of the same code: got %v", err)
	}
	for want, h := range map[string]http.Handler{"a nil handler": nil, "nil handler": (*pool)(nil), "want a pointer": byValue{make([]func(), 1)}} {
		if err := rt.Prove(router.Only(h)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Only(%T): got %v, want %q", h, err, want)
		}
	}
	// As a rule's handler such a value is opaque, and no panic.
	rt = mustNew(t, router.Rule{Name: "value", To: byValue{make([]func(), 1)}})
	if err := rt.Prove(router.Only(origin)); !errors.Is(err, router.ErrOpaque) {
		t.Errorf("got %v", err)
	}
}
