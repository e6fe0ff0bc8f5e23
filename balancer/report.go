package balancer

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

// eventLocked remembers a change and logs it.
func (p *Pool) eventLocked(now time.Time, backend, text string) {
	if len(p.events) == keepEvents {
		p.events = p.events[1:]
	}
	p.events = append(p.events, health.Event{Time: now, Part: backend, Text: text})
}

// recordLocked remembers what differs between two snapshots.
func (p *Pool) recordLocked(old, snap *snapshot, now time.Time) {
	for _, e := range snap.all {
		was := old.byName[e.Name]
		switch {
		case was == nil || was.member != e.member:
			if len(old.all) > 0 {
				p.eventLocked(now, e.Name, "added")
			}
		case was.verdict.State != e.verdict.State:
			level := slog.LevelInfo
			text := e.verdict.State.String()
			if e.verdict.Why != "" {
				text += ": " + e.verdict.Why
			}
			if e.verdict.State >= health.Degraded {
				level = slog.LevelWarn
			}
			if e.verdict.Mute {
				level = slog.LevelError // it is for a person to see to it
			}
			p.eventLocked(now, e.Name, text)
			if p.opts.Trace != nil && p.opts.Trace.Changed != nil && len(p.changes) < keepEvents {
				p.changes = append(p.changes, e.status(now))
			}
			attrs := []slog.Attr{slog.String("backend", e.Name)}
			if e.verdict.Why != "" {
				attrs = append(attrs, slog.String("why", e.verdict.Why))
			}
			p.log.LogAttrs(context.Background(), level, "backend is "+e.verdict.State.String(), attrs...)
		}
	}
	for _, e := range old.all {
		if snap.byName[e.Name] == nil {
			p.eventLocked(now, e.Name, "removed")
		}
	}
}

// Report implements [health.Reporter].
func (p *Pool) Report() health.Report {
	now := time.Now()
	snap := p.current(now)
	r := health.Report{Kind: "pool", Name: p.opts.Name, State: health.Up}
	up := 0
	for _, e := range snap.all {
		part := e.report(now)
		if part.State <= health.Up {
			up++
		}
		r.Parts = append(r.Parts, part)
	}
	switch {
	case len(snap.use) == 0:
		r.State, r.Why = health.Down, "no backend may serve"
		if err := snap.none(); err != ErrNoBackend {
			r.Why = err.Error()
		}
	case !p.Healthy(nil):
		r.State, r.Why = health.Down, "every backend is down; requests are tried all the same"
	case snap.forced:
		r.State, r.Why = health.Degraded, allLeave
	case up < len(snap.all):
		r.State, r.Why = health.Degraded, fmt.Sprintf("%d of %d backends are up", up, len(snap.all))
	}
	r.Metrics = []health.Metric{
		health.Level("requests_in_flight", "Requests from their pick to the end of their body, streams too.", "", float64(p.inflight.Load())),
		health.Level("requests_queued", "Requests that wait for a place at a backend.", "", float64(p.queue.len())),
		health.Level("buffered", "Memory that holds responses and requests of slow clients.", "bytes", float64(p.depot.answers.held()+p.depot.memory.held())),
		health.Level("spooled", "Disk that holds responses and requests of slow clients.", "bytes", float64(p.depot.disk.held())),
		health.Count("retries_total", "Further attempts at another backend.", p.retried.Load()),
		health.Level("connections", "Connections of ServeTCP in hand.", "", float64(p.carried.conns.Load())),
		health.Count("connections_refused_total", "Connections that could not be carried.", p.carried.refused.Load()),
		health.Count("connections_cut_total", "Connections cut because their backend was no longer to be used.", p.carried.cut.Load()),
	}
	p.mu.Lock()
	r.Events = slices.Clone(p.events)
	p.mu.Unlock()
	return r
}

func (e *entry) report(now time.Time) health.Report {
	s := e.status(now)
	r := health.Report{Kind: "backend", Name: e.Name, State: s.State, Why: s.Why, Verbs: []string{"ready", "drain", "maintenance"}}
	if s.Mode != Ready {
		r.Why = "set to " + s.Mode.String()
	}
	r.Metrics = []health.Metric{
		health.Level("in_flight", "Requests in hand, without the streams.", "", float64(s.InFlight)),
		health.Level("streams", "Upgraded connections, event streams, and what a rule calls a stream.", "", float64(s.Streams)),
		health.Level("latency", "Time to a response's header to expect.", "seconds", s.Latency.Seconds()),
		health.Count("requests_total", "Requests tried here.", s.Requests),
		health.Count("failures_total", "Requests without an answer, or answered 502, 503 or 504.", s.Failures),
	}
	if s.Role != "" {
		e.reportRole(&r, s)
	}
	return r
}

// Act implements [health.Actor] with the verbs ready, drain and maintenance,
// of which part is the backend, and primary, as [Pool.SetPrimary] explains it.
func (p *Pool) Act(_ context.Context, part, verb, _ string) error {
	if verb == health.RolePrimary {
		return p.SetPrimary(part)
	}
	i := slices.Index(modeNames[:], verb)
	if i < 0 {
		return fmt.Errorf("balancer: %q is none of ready, drain, maintenance and primary", verb)
	}
	return p.SetMode(part, Mode(i))
}
