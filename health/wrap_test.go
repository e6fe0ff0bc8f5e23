package health_test

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"

	"github.com/foretier/foretier/health"
)

// A knower answers whatever is asked along a chain.
type knower struct {
	http.Handler
	name string
	yes  bool
}

func (k *knower) Explain(*http.Request) health.Decision { return health.Decision{Part: k.name} }
func (k *knower) Healthy(*http.Request) bool            { return k.yes }
func (k *knower) OwnsCookie(string) bool                { return k.yes }
func (k *knower) Looped(*http.Request) bool             { return k.yes }
func (k *knower) Report() health.Report                 { return health.Report{Name: k.name} }

// What the outer handler answers by itself is believed; else the inner one is asked.
func TestWrapAsksWhoKnows(t *testing.T) {
	r := httptest.NewRequest("GET", "/", nil)
	plain := http.NotFoundHandler()
	for _, yes := range []bool{false, true} {
		outer, inner := &knower{plain, "outer", yes}, &knower{plain, "inner", !yes}
		for name, c := range map[string]struct {
			outer http.Handler
			part  string // who explains and reports
			well  bool
			asked []bool // who of the chain has cookies and loops of its own
		}{
			"outer": {outer, "outer", yes, []bool{yes, !yes}},
			"inner": {plain, "inner", !yes, []bool{false, !yes}},
		} {
			h := health.Wrap(c.outer, inner)
			d := health.Explain(h, r)
			if len(d.Next) > 0 {
				d = d.Next[0]
			}
			if d.Part != c.part || h.(health.Reporter).Report().Name != c.part || health.Healthy(h, r) != c.well {
				t.Errorf("%s, %t: explained by %s, reported by %s, healthy: %t", name, yes, d.Part, h.(health.Reporter).Report().Name, health.Healthy(h, r))
			}
			var cookies, loops []bool
			for below := range health.Chain(h) {
				cookies = append(cookies, below.(health.CookieOwner).OwnsCookie("pin"))
				loops = append(loops, below.(health.LoopDetector).Looped(r))
			}
			if !slices.Equal(cookies, c.asked) || !slices.Equal(loops, c.asked) {
				t.Errorf("%s, %t: cookies %v, loops %v, want %v", name, yes, cookies, loops, c.asked)
			}
		}
	}
}
