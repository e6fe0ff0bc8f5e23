package router_test

import (
	"testing"

	"github.com/foretier/foretier/health"
	"github.com/foretier/foretier/health/status"
	"github.com/foretier/foretier/router"
)

// Two fallbacks of one rule are told apart.
func TestReportOfSeveralFallbacks(t *testing.T) {
	a, b, c := newPool("a"), newPool("b"), newPool("c")
	rt := mustNew(t, router.Rule{Name: "shop", To: router.Fallback(router.Fallback(a, b), c)})
	var names []string
	for _, p := range rt.Report().Parts[0].Parts {
		names = append(names, p.Name)
	}
	if len(names) != 2 || names[0] == names[1] {
		t.Errorf("got %q", names)
	}
	if _, err := status.New([]health.Reporter{rt}, status.Options{}); err != nil {
		t.Error(err)
	}
}
