package tcp

import (
	"maps"
	"net/url"
	"sync/atomic"
	"time"

	"github.com/foretier/foretier/balancer/internal/pool"
	"github.com/foretier/foretier/health"
)

// A way is what is kept of a backend.
type way struct {
	shed atomic.Int32 // connections in a row that it ended at once
}

func wayTo(e *pool.Entry) *way { return e.Way.(*way) }

// A placed backend is one as it is configured, and its URL as it is read.
type placed struct {
	Backend
	url *url.URL
}

// makeWay says how a new backend is probed.
func (o Options) makeWay(s pool.Spec) (any, health.Target) {
	b := s.Own.(*placed)
	t := health.Target{Name: b.Name, URL: b.url, TLS: o.TLS}
	if o.Announce != 0 {
		t.Preface = o.Announce.header(nil) // a probe has no client
	}
	return new(way), t
}

// specOf returns a backend as a set wants it, checked.
func specOf(b Backend) (pool.Spec, error) {
	b, u, err := b.resolve()
	if err != nil {
		return pool.Spec{}, err
	}
	return pool.Spec{Name: b.Name, At: u.String(), Weight: b.Weight, Tier: b.Tier, Own: &placed{b, u}}, nil
}

// statusAt returns how e is.
func statusAt(e *pool.Entry, now time.Time) Status {
	b := e.Own.(*placed).Backend
	b.Labels = maps.Clone(b.Labels)
	rank := rankOf(e)
	return Status{
		Backend:  b,
		Mode:     Mode(e.Wanted()),
		State:    e.Health.State,
		Why:      e.Health.Why,
		Since:    e.Health.Since,
		Until:    e.Health.Until,
		InFlight: e.Load.InFlight(),
		Latency:  e.Load.Latency(now),
		Conns:    e.Requests.Load(),
		Failures: e.Failures.Load(),
		Role:     rank.Role,
		Epoch:    rank.Epoch,
		Lag:      rank.Lag,
		Primary:  rank.Primary,
		Barred:   rank.Barred,
	}
}
