package router_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/foretier/foretier/router"
)

// Explain tells with what a rule answers itself, as serving then does.
func TestExplainAgreesWithServing(t *testing.T) {
	page := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	upload := func(n int64) func(*http.Request) {
		return func(r *http.Request) { r.Method, r.ContentLength = "POST", n }
	}
	cases := map[string]struct {
		rule   router.Rule
		before int // requests
		edit   func(*http.Request)
		want   int // 204: served
	}{
		"served":               {router.Rule{}, 0, upload(router.DefaultMaxBody), 204},
		"over the default":     {router.Rule{}, 0, upload(router.DefaultMaxBody + 1), 413},
		"over the rule's":      {router.Rule{MaxBody: 10}, 0, upload(11), 413},
		"at the rule's":        {router.Rule{MaxBody: 10}, 0, upload(10), 204},
		"no limit":             {router.Rule{MaxBody: -1}, 0, upload(1 << 40), 204},
		"of unknown length":    {router.Rule{MaxBody: 10}, 0, upload(-1), 204},
		"not allowed":          {router.Rule{Allow: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}, 0, upload(0), 403},
		"within the rate":      {router.Rule{Limit: router.Limit{Rate: 0.001, Burst: 2}}, 1, upload(0), 204},
		"over the rate":        {router.Rule{Limit: router.Limit{Rate: 0.001, Burst: 2}}, 2, upload(0), 429},
		"not allowed, too big": {router.Rule{MaxBody: 10, Allow: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}, 0, upload(11), 403},
	}
	for name, c := range cases {
		c.rule.Name, c.rule.To = "page", page
		rt := mustNew(t, c.rule)
		for range c.before {
			rt.ServeHTTP(httptest.NewRecorder(), request("GET", "/"))
		}
		r := request("GET", "/")
		c.edit(r)
		for range 3 { // it counts nothing
			steps := strings.Join(rt.Explain(r).Steps, "|")
			if c.want == 204 && steps != "" || c.want != 204 && !strings.HasPrefix(steps, fmt.Sprint(c.want, ": ")) {
				t.Errorf("%s: Explain: %q, want %d", name, steps, c.want)
			}
		}
		w := httptest.NewRecorder()
		rt.ServeHTTP(w, r)
		if w.Code != c.want {
			t.Errorf("%s: serving: %d, want %d", name, w.Code, c.want)
		}
	}
}
