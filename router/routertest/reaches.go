package routertest

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/foretier/foretier/health"
	"github.com/foretier/foretier/internal/trial"
)

// Reaches checks that requests for the paths, and for what is below them, reach no other
// pool than the one of that name, in whatever way they are written and by whatever method;
// and that the paths themselves do reach it. Pools are named by their options. [None] is
// for what must reach no pool at all.
//
// It asks what the front explains, and fails at a handler that explains nothing:
// health.Wrap makes one of one's own transparent. What the front's own table of rules can
// be proved to do, for requests that nobody has thought of, is said by a router.Claim.
func Reaches(t testing.TB, front Front, pool string, paths ...string) {
	t.Helper()
	for _, path := range paths {
		failures, first := 0, ""
		fail := func(method, target, wrong string, d health.Decision) {
			if failures++; failures == 1 {
				first = trial.Failure(method+" "+target, []string{wrong}, d.String())
			}
		}
		for _, method := range []string{http.MethodGet, http.MethodPost, "FOO"} {
			for _, target := range append([]string{path}, Forms(path)...) {
				row := Row{Method: method, Target: target}
				r, err := row.request(t)
				if err != nil && target != path {
					continue // refused
				}
				if err != nil {
					t.Fatalf("%s: %v", path, err)
				}
				d := front.Explain(r)
				got := reached(d)
				plain := target == path && method == http.MethodGet && pool != None
				switch wrong := got.beside(pool); {
				case len(got.pools) == 0 && got.opaque == "" && !plain: // refused, or answered by the tier
				case wrong != "":
					fail(method, target, wrong, d)
				}
			}
		}
		if failures > 1 {
			first += fmt.Sprintf("\n\tand so do %d other ways of asking for %s", failures-1, path)
		}
		if failures > 0 {
			t.Errorf("%s", first)
		}
	}
}

// A reach is what a request may come to.
type reach struct {
	pools  []string
	opaque string // a handler of which nobody can know what it calls; "": none
}

// reached returns what a request may come to, of which d tells.
func reached(d health.Decision) (r reach) {
	name, isPool := strings.CutPrefix(d.Part, "pool ")
	switch {
	case isPool && d.Verdict != "refused" && !slices.Contains(r.pools, name):
		r.pools = append(r.pools, name)
	case d.Part == "handler" && d.Verdict == "called":
		r.opaque = d.Why
	}
	for _, next := range d.Next {
		below := reached(next)
		r.pools = append(r.pools, below.pools...)
		if r.opaque == "" {
			r.opaque = below.opaque
		}
	}
	return r
}

// beside says what a request may reach that is not the one pool, or "".
func (r reach) beside(pool string) string {
	var others []string
	for _, name := range r.pools {
		if name != pool && !slices.Contains(others, name) {
			others = append(others, name)
		}
	}
	switch {
	case len(others) > 0:
		return fmt.Sprintf("reaches pool %s, want %s", strings.Join(others, " and "), pool)
	case r.opaque != "":
		return fmt.Sprintf("may reach anything, want %s: %s", pool, r.opaque)
	case len(r.pools) == 0 && pool != None:
		return fmt.Sprintf("reaches no pool, want %s", pool)
	}
	return ""
}
