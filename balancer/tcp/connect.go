package tcp

import (
	"context"
	"fmt"
	"net"
	"time"

	"github.com/foretier/foretier/balancer/internal/pool"
	"github.com/foretier/foretier/balancer/internal/tracker"
	"github.com/foretier/foretier/health"
)

// connect picks a backend and connects to it, and to another if it does not
// accept. client is nil for DialContext.
func (p *carrier) connect(ctx context.Context, client net.Conn) (*link, error) {
	if p.view.Closing.Err() != nil {
		return nil, ErrClosed
	}
	c := connecting{of: p, client: client, ask: askFor(nil)}
	if client != nil {
		c.ask = askFor(client.RemoteAddr())
	}
	l, err := c.acquire(ctx)
	for err == nil {
		failed := c.dial(ctx, l)
		if failed == nil {
			return l, nil
		}
		l.free()
		failed = l.entry.Fail(failed)
		if c.before != nil {
			failed = fmt.Errorf("%w (before: %v)", failed, c.before)
		}
		if ctx.Err() != nil {
			return nil, failed
		}
		c.before = failed
		if l, err = c.take(); err != nil {
			return nil, failed
		}
		p.retried.Add(1)
	}
	return nil, err
}

// askFor returns what a client at that address asks for; nil: this process.
func askFor(client net.Addr) pool.Ask {
	return pool.Ask{Repeatable: true, Key: keyOf(client), Client: addrPort(client).Addr()}
}

// keyOf returns what equal clients have in common; 0: nothing is known of it.
func keyOf(client net.Addr) uint64 {
	if client == nil {
		return 0
	}
	host, _, err := net.SplitHostPort(client.String())
	if err != nil {
		return 0
	}
	return pool.Hash64(host)
}

// connecting is the search for a backend that accepts a connection.
type connecting struct {
	of     *carrier
	client net.Conn
	ask    pool.Ask
	before error // of the attempt before
}

// acquire takes a place at a backend, and waits in the queue if all are full.
func (c *connecting) acquire(ctx context.Context) (l *link, err error) {
	err = c.of.view.Acquire(ctx, &c.ask, func() (err error) {
		l, err = c.take()
		return err
	})
	return l, err
}

// take takes a place at a backend that was not tried.
func (c *connecting) take() (*link, error) {
	p := c.of
	for {
		l := &link{of: p, start: time.Now()}
		choice, err := p.view.Take(&c.ask, &l.place, l.start)
		if err == pool.ErrNoBackend {
			err = none(choice.Snap)
		}
		if err != nil {
			return nil, err
		}
		l.entry = choice.Entry
		p.add(l)
		// From here on it is cut when its backend must no longer be used. If
		// that was decided since the pick, it has not been told.
		if later := p.view.Snap.Load(); later != choice.Snap && cutCause(later, l.entry.Member) != nil {
			p.remove(l)
			p.view.Abandon(l.entry, &l.place)
			c.ask.Tried = c.ask.Tried[:len(c.ask.Tried)-1]
			continue
		}
		return l, nil
	}
}

// dial connects l to its backend and tells the tracker how that went.
func (c *connecting) dial(ctx context.Context, l *link) error {
	p, caller := c.of, ctx
	if d := p.opts.Dial; d > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, d)
		defer cancel()
	}
	target := l.entry.Target
	if p.opts.Announce != 0 {
		target.Preface = p.opts.Announce.header(c.client)
	}
	conn, err := target.Dial(ctx, &p.dialer)
	now := time.Now()
	switch {
	case err == nil:
		l.conn = conn
		l.place.Header(now, false)
		switch v := l.entry.Health; {
		case v.Trial:
			l.prove() // to accept is easy
		case v.State == health.Down, v.State == health.Unknown:
			p.observe(l.entry, now, pool.Result{Outcome: tracker.Answered})
		}
		return nil
	case caller.Err() != nil:
		l.place.Leave() // nobody waits for it any more
	case health.Unreachable(err):
		l.place.Header(now, true)
		p.roles.missed(l.entry, now)
		p.observe(l.entry, now, pool.Result{Outcome: tracker.Refused})
	default:
		l.place.Header(now, true)
		p.observe(l.entry, now, pool.Result{Outcome: tracker.Failed})
	}
	return err
}
