package router_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/foretier/foretier/router"
)

// A function that asks a store is asked once a request, however many readings
// the path has and rules want to know.
func TestFunctionIsAskedOnceARequest(t *testing.T) {
	asked, answer := 0, false
	f := func(*http.Request) bool { asked++; return answer }
	member := router.Test("member", f)
	other := 0
	rt := mustNew(t,
		router.Rule{Name: "a", When: router.All(router.Path("/a/*"), member), To: say("a")},
		router.Rule{Name: "b", When: router.All(router.Any(member, router.Test("other", func(*http.Request) bool { other++; return false })), router.Not(router.Path("/x"))), To: say("b")},
		router.Rule{Name: "c", When: router.All(router.Not(router.Test("member", f)), router.Host("shop.example")), To: say("c")},
		router.Rule{Name: "rest", To: say("rest")},
	)
	for _, target := range []string{"/plain", "//h/a/../a/%252561;x/y;z/../b", "/a/%2e%2e/a;b/%61"} {
		for _, answer = range []bool{false, true} {
			asked, other = 0, 0
			w := httptest.NewRecorder()
			r := request("GET", target)
			rt.ServeHTTP(w, r)
			if asked != 1 || other > 1 || w.Code != 200 {
				t.Errorf("%s, %t: %d, asked %d and %d times", target, answer, w.Code, asked, other)
			}
			if served, _, _ := strings.Cut(w.Body.String(), " "); (served == "c") == answer {
				t.Errorf("%s, %t: served by %s", target, answer, served)
			}
			asked = 0
			rt.Explain(r)
			rt.Healthy(r)
			if asked > 2 {
				t.Errorf("%s: explained with %d questions", target, asked)
			}
			if asked = 0; !member.Match(r) == answer || asked != 1 {
				t.Errorf("%s: by itself: asked %d times", target, asked)
			}
		}
	}
}

// Functions of one name and one code are two if they hold different variables.
func TestFunctionsAreToldApart(t *testing.T) {
	says := func(yes bool) func(*http.Request) bool { return func(*http.Request) bool { return yes } }
	rt := mustNew(t,
		router.Rule{Name: "no", When: router.Test("no", says(false)), To: say("no")},
		router.Rule{Name: "yes", When: router.Test("yes", says(true)), To: say("yes")},
		router.Rule{Name: "rest", To: say("rest")},
	)
	if got := get(rt, "/").Body.String(); got != "yes /" {
		t.Errorf("got %q", got)
	}
}
