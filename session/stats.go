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
		health.Count("loads_total", "Sessions asked of the store.", s.loads.Load()),
		health.Count("created_total", "Sessions created or renewed.", s.created.Load()),
		health.Count("updated_total", "Sessions changed.", s.updated.Load()),
		health.Count("touched_total", "Sessions kept alive.", s.touched.Load()),
		health.Count("conflicts_total", "Changes that were made again because another came first.", s.conflicts.Load()),
		health.Count("dropped_total", "Changes dropped because the session had ended meanwhile.", s.dropped.Load()),
		health.Count("missing_total", "Sessions gone before their time: lost by the store.", s.missing.Load()),
		health.Count("ended_total", "Sessions destroyed.", s.ended.Load()),
		health.Count("revoked_total", "Subjects whose sessions were revoked.", s.revoked.Load()),
		health.Count("failed_total", "Calls to the store that failed.", s.failed.Load()),
		health.Count("refused_total", "Calls that the store refused, since it is full or takes no changes.", s.refused.Load()),
		health.Count("unreadable_total", "Sessions that could not be read and counted as none.", s.unreadable.Load()),
	}
}
