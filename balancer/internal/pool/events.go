package pool

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/foretier/foretier/health"
)

// keepEvents is how many changes a report shows.
const keepEvents = 50

// eventLocked remembers a change.
func (s *Set) eventLocked(now time.Time, backend, text string) {
	if len(s.events) == keepEvents {
		s.events = s.events[1:]
	}
	s.events = append(s.events, health.Event{Time: now, Part: backend, Text: text})
}

// Note remembers that something has happened to a member, or to the set.
func (s *Set) Note(now time.Time, backend, text string) {
	s.Mu.Lock()
	defer s.Mu.Unlock()
	s.eventLocked(now, backend, text)
}

// recordLocked remembers what differs between two snapshots, and logs it.
func (s *Set) recordLocked(old, snap *Snapshot, now time.Time) {
	for _, e := range snap.All {
		was := old.ByName[e.Name]
		switch {
		case was == nil || was.Member != e.Member:
			if len(old.All) > 0 {
				s.eventLocked(now, e.Name, "added")
			}
		case was.Verdict.State != e.Verdict.State:
			s.recordStateLocked(e, now)
		}
	}
	for _, e := range old.All {
		if snap.ByName[e.Name] == nil {
			s.eventLocked(now, e.Name, "removed")
		}
	}
	if snap.forced && !old.forced {
		s.eventLocked(now, "", allLeave)
		s.Opts.Log.LogAttrs(context.Background(), slog.LevelError, allLeave)
	}
}

// recordStateLocked remembers and logs that e has another state now.
func (s *Set) recordStateLocked(e *Entry, now time.Time) {
	level, state, why := slog.LevelInfo, e.Verdict.State.String(), e.Verdict.Why
	switch {
	case e.Verdict.Mute:
		level = slog.LevelError // it is for a person to see to it
	case e.Verdict.State >= health.Degraded:
		level = slog.LevelWarn
	}
	text, attrs := state, []slog.Attr{slog.String("backend", e.Name)}
	if why != "" {
		text += ": " + why
		attrs = append(attrs, slog.String("why", why))
	}
	s.eventLocked(now, e.Name, text)
	if s.Opts.Changed != nil && len(s.changes) < keepEvents {
		s.changes = append(s.changes, change{e, now})
	}
	s.Opts.Log.LogAttrs(context.Background(), level, "backend is "+state, attrs...)
}

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
		r.State, r.Why = health.Degraded, allLeave
	case up < len(snap.All):
		r.State, r.Why = health.Degraded, fmt.Sprintf("%d of %d backends are up", up, len(snap.All))
	}
	s := v.Set
	s.Mu.Lock()
	defer s.Mu.Unlock()
	if v == s.Whole {
		r.Events = slices.Clone(s.events)
	}
	return r
}

func (e *Entry) report(now time.Time) health.Report {
	r := health.Report{Kind: "backend", Name: e.Name, State: e.Verdict.State, Why: e.Verdict.Why, Verbs: []string{"ready", "drain", "maintenance"}}
	if m := e.Wanted(); m != Ready {
		r.Why = "set to " + m.String()
	}
	r.Metrics = []health.Metric{
		health.Level("in_flight", "Requests in hand, without the streams.", "", float64(e.Load.InFlight())),
		health.Level("streams", "Upgraded connections, event streams, and what a rule calls a stream.", "", float64(e.Load.Streams())),
		health.Level("latency", "Time to a response's header to expect.", "seconds", e.Load.Latency(now).Seconds()),
		health.Count("requests_total", "Requests tried here.", e.Requests.Load()),
		health.Count("failures_total", "Requests without an answer, or answered 502, 503 or 504.", e.Failures.Load()),
	}
	return r
}
