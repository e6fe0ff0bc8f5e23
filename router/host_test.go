package router_test

import (
	"testing"

	"github.com/foretier/foretier/router"
)

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
