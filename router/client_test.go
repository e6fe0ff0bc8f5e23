package router_test

import (
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/foretier/foretier/router"
)

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
