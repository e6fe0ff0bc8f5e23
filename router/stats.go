package router

import (
	"cmp"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/foretier/foretier/health"
	"github.com/foretier/foretier/internal/transit"
)

// ruleStats outlives a rule: the next one of its name goes on counting.
type ruleStats struct {
	requests atomic.Uint64
	denied   atomic.Uint64
	took     health.Durations
	classes  [6]atomic.Uint64 // of responses, by the status's first digit; 0: the client left
	outcomes [len(outcomes)]atomic.Uint64
}

// outcomes are what a cache may do with a request, as it says by [transit.Outcomer].
var outcomes = [...]string{"hit", "stale", "miss", "pass"}

// ended counts a request that came at began, and what has become of it: of that the
// edge's server tells, by w.
func (s *ruleStats) ended(began time.Time, w http.ResponseWriter, rec *transit.Record) {
	s.took.Add(time.Since(began))
	status, known := statusOf(w)
	if known {
		s.answered(status, rec.Gone())
	}
	if outcome := rec.Outcome(); outcome != "" {
		s.looked(outcome)
	}
}

// CountInstant implements [transit.Counter].
func (s *ruleStats) CountInstant(status int) {
	s.requests.Add(1)
	s.took.Add(0)
	s.answered(status, false)
	s.outcomes[0].Add(1)
}

// answered counts a response. A handler that has written none leaves 200 to the server.
func (s *ruleStats) answered(status int, gone bool) {
	class := cmp.Or(status, http.StatusOK) / 100
	if gone {
		class = 0
	}
	if class < len(s.classes) {
		s.classes[class].Add(1)
	}
}

// looked counts what a cache has done.
func (s *ruleStats) looked(outcome string) {
	for i, name := range outcomes {
		if name == outcome {
			s.outcomes[i].Add(1)
		}
	}
}

// metrics are those of what became of requests.
func (s *ruleStats) metrics() []health.Metric {
	var out []health.Metric
	for i := range s.classes {
		class := "gone"
		if i > 0 {
			class = string('0'+rune(i)) + "xx"
		}
		out = append(out, health.Count("responses_total", "Responses of requests that the rule took, by the class of their status, or gone if their client left first.",
			s.classes[i].Load(), health.Label{Name: "class", Value: class}))
	}
	for i, outcome := range outcomes {
		out = append(out, health.Count("lookups_total", "Lookups in a cache behind the rule, by what it did.", s.outcomes[i].Load(), health.Label{Name: "outcome", Value: outcome}))
	}
	return out
}

// statusOf returns the status that has gone out by w, or 0; it is known if w is, or
// wraps, a writer of edge's.
func statusOf(w http.ResponseWriter) (status int, known bool) {
	for {
		switch of := w.(type) {
		case interface{ Status() int }:
			return of.Status(), true
		case interface{ Unwrap() http.ResponseWriter }:
			w = of.Unwrap()
		default:
			return 0, false
		}
	}
}
