package balancer

import (
	"sync/atomic"

	"github.com/foretier/foretier/health"
)

// A retried counts what was tried again, by what the attempt before had come to.
type retried struct {
	unreachable atomic.Uint64 // no connection came about
	unprocessed atomic.Uint64 // nothing was sent, or nothing that the backend has looked at
	rescued     atomic.Uint64 // its backend went down while it waited
	broken      atomic.Uint64 // the connection broke, or what came was no answer
	answered    atomic.Uint64 // 500, 502 or 503
	denied      atomic.Uint64 // was not: the budget was spent
}

// add counts that t, which ended with err or an answer, is followed by another.
func (c *retried) add(t *try, err error) {
	n := &c.broken
	switch {
	case err == nil:
		n = &c.answered
	case err == errRescued:
		n = &c.rescued
	case t.unsent(err):
		n = &c.unprocessed
		if health.Unreachable(err) {
			n = &c.unreachable
		}
	}
	n.Add(1)
}

func (c *retried) metrics() []health.Metric {
	by := func(reason string, n *atomic.Uint64) health.Metric {
		return health.Count("retries_total", "Retries at another backend, by why.", n.Load(), health.Label{Name: "reason", Value: reason})
	}
	return []health.Metric{
		by("unreachable", &c.unreachable), by("unprocessed", &c.unprocessed), by("rescued", &c.rescued), by("broken off", &c.broken), by("error", &c.answered),
		health.Count("retries_denied_total", "Retries denied, since there were too many.", c.denied.Load()),
	}
}
