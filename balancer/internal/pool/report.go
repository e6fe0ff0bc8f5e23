package pool

import (
	"fmt"
	"slices"
	"time"

	"github.com/foretier/foretier/health"
)

// Report tells how the view is and each of its members, to which each may add;
// it may be nil.
func (v *View) Report(now time.Time, each func(*Entry, *health.Report)) health.Report {
	snap := v.Current(now)
	r := health.Report{Kind: "pool", State: health.Up}
	up := 0
	for _, e := range snap.All {
		part := e.report(now)
		if each != nil {
			each(e, &part)
		}
		if part.State <= health.Up {
			up++
		}
		r.Parts = append(r.Parts, part)
	}
	switch {
	case len(snap.Use) == 0:
		r.State, r.Why = health.Down, "no backend may serve"
	case !v.Healthy(now):
		r.State, r.Why = health.Down, "every backend is down; requests are tried all the same"
	case snap.forced:
		r.State, r.Why = health.Degraded, onlyDrained
	case up < len(snap.All):
		r.State, r.Why = health.Degraded, fmt.Sprintf("%d of %d backends are up", up, len(snap.All))
	}
	s := v.Set
	s.mu.Lock()
	defer s.mu.Unlock()
	if v == s.Whole {
		r.Events = slices.Clone(s.events)
	}
	return r
}

func (e *Entry) report(now time.Time) health.Report {
	r := health.Report{Kind: "backend", Name: e.Name, State: e.Health.State, Why: e.Health.Why, Verbs: []string{"ready", "drain", "maintenance"}}
	drained := 0.0
	if m := e.Wanted(); m != Ready {
		r.Why, drained = "set to "+m.String(), 1
	}
	r.Metrics = []health.Metric{
		health.Level("requests_in_flight", "Requests or connections in hand, without the streams.", "", float64(e.Load.InFlight())),
		health.Level("streams_open", "Streams in hand: upgraded connections, event streams, and what a rule calls a stream.", "", float64(e.Load.Streams())),
		health.Level("latency_seconds", "Latency to expect until a response's header.", "seconds", e.Load.Latency(now).Seconds()),
		health.Distribution("wait_seconds", "Wait for a response's header, of those that came.", &e.Load.Waits),
		health.Level("drained", "Drained: 1 for a backend that an operator has set to drain or to maintenance, 0 for another.", "", drained),
		health.Count("requests_total", "Requests tried here.", e.Requests.Load()),
		health.Count("requests_failed_total", "Requests without an answer, or answered 502, 503 or 504.", e.Failures.Load()),
	}
	return r
}
