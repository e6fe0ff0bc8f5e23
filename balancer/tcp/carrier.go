package tcp

import (
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/foretier/foretier/balancer/internal/pool"
	"github.com/foretier/foretier/internal/transit"
)

// A carrier is what pools and excerpts have in common: the way of connections to
// the backends that a view shows.
type carrier struct {
	opts   Options
	log    *slog.Logger
	view   *pool.View
	roles  *roles
	dialer net.Dialer

	retried atomic.Uint64
	conns   atomic.Int64 // of Serve
	refused atomic.Uint64
	cut     atomic.Uint64

	// What strangers can have written, by kind, so that one does not hide
	// another.
	unserved, ungreeted, broken, failed, exhausted transit.Lines

	mu    sync.Mutex
	links map[*link]struct{} // guarded by mu
}

func (c *carrier) add(l *link) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.links[l] = struct{}{}
}

func (c *carrier) remove(l *link) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.links, l)
}

// cutMoved cuts the links whose backends snap no longer lets be used.
func (c *carrier) cutMoved(snap *pool.Snapshot) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for l := range c.links {
		if why := cutCause(snap, l.entry.Member); why != nil {
			l.cut(why)
		}
	}
}

// observe judges what became of a connection to e.
func (p *carrier) observe(e *pool.Entry, now time.Time, r pool.Result) {
	p.view.Set.Observe(e, now, r)
}

// newDialer returns what connects to backends.
func newDialer(o Options) net.Dialer {
	return net.Dialer{KeepAliveConfig: net.KeepAliveConfig{
		Enable: o.KeepAlive > 0, Idle: o.KeepAlive, Interval: o.KeepAlive / 3, Count: 3,
	}, KeepAlive: min(o.KeepAlive, 0)}
}

func newCarrier(opts Options, v *pool.View, r *roles) *carrier {
	c := &carrier{
		opts: opts, log: opts.Logger.With("pool", opts.Name), view: v, roles: r,
		dialer: newDialer(opts), links: make(map[*link]struct{}),
	}
	for _, l := range []*transit.Lines{&c.ungreeted, &c.broken, &c.failed} {
		l.Burst = fewLines
	}
	v.Watch(c.cutMoved)
	return c
}

// fewLines is how many lines of a kind may come at once; then it is one a
// second.
const fewLines = 5
