package session

import (
	"sync/atomic"

	"github.com/foretier/foretier/health"
)

// stats counts what a manager did.
type stats struct {
	loads, created, updated, touched atomic.Uint64
	conflicts, dropped, missing      atomic.Uint64
	ended, revoked, failed           atomic.Uint64
	refused, unreadable              atomic.Uint64
}

func (s *stats) metrics() []health.Metric {
	return []health.Metric{
		health.Count("loads_total", "Loads of sessions from the store.", s.loads.Load()),
		health.Count("sessions_started_total", "Sessions created or renewed.", s.created.Load()),
		health.Count("sessions_updated_total", "Sessions changed.", s.updated.Load()),
		health.Count("sessions_touched_total", "Sessions kept alive.", s.touched.Load()),
		health.Count("conflicts_total", "Conflicts of changes, made again because another came first.", s.conflicts.Load()),
		health.Count("changes_dropped_total", "Changes dropped because the session had ended meanwhile.", s.dropped.Load()),
		health.Count("sessions_missing_total", "Sessions gone before their time: lost by the store.", s.missing.Load()),
		health.Count("sessions_destroyed_total", "Sessions destroyed.", s.ended.Load()),
		health.Count("subjects_revoked_total", "Subjects whose sessions were revoked.", s.revoked.Load()),
		health.Count("calls_failed_total", "Calls to the store that failed.", s.failed.Load()),
		health.Count("calls_refused_total", "Calls that the store refused, since it is full or takes no changes.", s.refused.Load()),
		health.Count("sessions_unreadable_total", "Sessions that could not be read and counted as none.", s.unreadable.Load()),
	}
}
