package pool

import (
	"context"
	"log/slog"
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
	s.mu.Lock()
	defer s.mu.Unlock()
	s.eventLocked(now, backend, text)
}

// recordLocked remembers what differs between two snapshots, and logs it.
func (s *Set) recordLocked(old, snap *Snapshot, now time.Time) {
	for _, e := range snap.All {
		was := old.ByName(e.Name)
		switch {
		case was == nil || was.Member != e.Member:
			if len(old.All) > 0 {
				s.eventLocked(now, e.Name, "added")
			}
		case was.Health.State != e.Health.State:
			s.recordStateLocked(e, now)
		}
	}
	for _, e := range old.All {
		if snap.ByName(e.Name) == nil {
			s.eventLocked(now, e.Name, "removed")
		}
	}
	if snap.forced && !old.forced {
		s.eventLocked(now, "", onlyDrained)
		s.Opts.Log.LogAttrs(context.Background(), slog.LevelError, onlyDrained)
	}
}

// recordStateLocked remembers and logs that e has another state now.
func (s *Set) recordStateLocked(e *Entry, now time.Time) {
	level, state, why := slog.LevelInfo, e.Health.State.String(), e.Health.Why
	switch {
	case e.Health.Mute:
		level = slog.LevelError // it is for a person to see to it
	case e.Health.State >= health.Degraded:
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
