package tcp

import (
	"context"
	"fmt"
	"maps"
	"net"
	"time"

	"github.com/foretier/foretier/balancer/internal/election"
	"github.com/foretier/foretier/balancer/internal/pool"
	"github.com/foretier/foretier/health"
)

// A Pool gives connections to its backends. It is safe for concurrent use.
type Pool struct {
	*carrier
	set *pool.Set
}

// An Excerpt gives connections to those backends of a [Pool] that pass a filter:
// see [Pool.Only]. It is safe for concurrent use.
type Excerpt struct{ *carrier }

// New returns a pool of the given backends, which may be none. It starts
// nothing: see [Pool.Run]. Names must be unique.
func New(backends []Backend, opts Options) (*Pool, error) {
	opts, err := opts.withDefaults()
	if err != nil {
		return nil, err
	}
	log := opts.Logger.With("pool", opts.Name)
	r := &roles{log: log, memory: opts.Memory}
	if r.throne, err = election.Recall(opts.Memory); err != nil {
		return nil, err
	}
	r.set = pool.New(pool.Options{
		Name:     opts.Name,
		Log:      log,
		Probe:    opts.Probe,
		Schedule: opts.Schedule,
		Outlier:  opts.Outlier,
		MakeWay:  opts.makeWay,
		DropWay:  func(any) {},
		Judge:    r,
		Strict:   true,
	}, opts.Limits.limits(), opts.Policy.pool)
	if opts.Source != nil {
		r.set.Opts.Source = pool.Yield(opts.Source.Backends, specOf)
	}
	p := &Pool{carrier: newCarrier(opts, r.set.Whole, r), set: r.set}
	if err := p.Update(backends); err != nil {
		return nil, err
	}
	return p, nil
}

// Only returns those of the pool's backends that pass a filter: the same
// backends with the same states and the same load, fewer of them. With several
// filters, those that pass the first are used as long as one of them is alive,
// then those that pass the second, and so on:
//
//	writes := db.Only("writes", tcp.Primary)
//	reads := db.Only("reads", tcp.Replicas(5*time.Second), tcp.Primary)
//
// name is for logs and reports. A filter is asked at each change of a state or
// a role, not for each connection; it must not call the pool. Connections to a
// backend that passes none of them any more are cut, unless it was removed, or
// would pass if it were at its best: up, without lag, without load. That is a
// preference, and for new connections only.
//
// What is returned needs no Run, and ends with the pool; its Close ends it
// alone.
func (c *carrier) Only(name string, filters ...func(Status) bool) *Excerpt {
	opts := c.opts
	opts.Name = name
	list := make([]pool.Filter, len(filters))
	for i, f := range filters {
		list[i] = func(e *pool.Entry, now time.Time, atBest bool) bool {
			s := statusAt(e, now)
			if atBest {
				s = s.atBest()
			}
			return f(s)
		}
	}
	return &Excerpt{newCarrier(opts, c.view.Only(list), c.roles)}
}

// Update replaces the backends. Those whose name and address are known keep
// their state; new ones beside others start slowly; removed ones finish what
// they have in hand. On an error nothing has changed.
func (p *Pool) Update(backends []Backend) error {
	specs, err := pool.Specs(backends, specOf)
	if err != nil {
		return err
	}
	return p.set.Update(specs)
}

// Run probes the backends and follows the Source until ctx ends or the pool is
// closed, and returns once all probes have ended. Without it, or without a
// Probe, the pool learns from its connections alone. It is called once at a
// time.
func (p *Pool) Run(ctx context.Context) error {
	p.set.Run(ctx)
	return nil
}

// SetMode tells what an operator wants of the named backend. It returns
// [ErrUnknown] if there is none.
func (c *carrier) SetMode(name string, m Mode) error {
	return c.view.Set.SetMode(name, pool.Mode(m))
}

// Act implements [health.Actor] with the verbs ready, drain and maintenance,
// of which part is the backend, and primary, as [Pool.SetPrimary] explains it.
func (c *carrier) Act(_ context.Context, part, verb, arg string) error {
	if arg != "" {
		return fmt.Errorf("balancer: %s %s: want no further word, not %q", verb, part, arg)
	}
	if verb == health.RolePrimary {
		return c.SetPrimary(part)
	}
	m, err := pool.ParseMode(verb)
	if err != nil {
		return err
	}
	return c.view.Set.SetMode(part, m)
}

// Close ends [Pool.Run] and what is probed, and refuses further connections.
// What is in hand goes on. It is idempotent.
func (p *Pool) Close() error {
	p.set.End()
	return nil
}

// Close refuses further connections. What is in hand goes on, and so does the
// pool of which this is an excerpt. It is idempotent.
func (e *Excerpt) Close() error {
	e.view.End()
	return nil
}

// WaitReady returns once the pool has been told by its probes that a backend is
// up. A pool without a Probe is ready at once. It needs [Pool.Run] to be
// running, and returns the cause of ctx's end if that comes first.
func (c *carrier) WaitReady(ctx context.Context) error { return c.view.WaitReady(ctx) }

// Backends returns how each backend is, in the order given.
func (c *carrier) Backends() []Status {
	now := time.Now()
	snap := c.view.Current(now)
	out := make([]Status, len(snap.All))
	for i, e := range snap.All {
		out[i] = statusAt(e, now)
	}
	return out
}

// Healthy reports whether there is a backend for a connection that is not down.
func (c *carrier) Healthy() bool { return c.view.Healthy(time.Now()) }

// Explain tells which backend a connection of a client at that address would go
// to now, or what it would wait for, and how each backend stands.
func (c *carrier) Explain(client net.Addr) health.Decision {
	ask := askFor(client)
	_, d := c.view.Explain(&ask, time.Now())
	d.Part = "pool " + c.opts.Name
	if c.view.Closing.Err() != nil {
		d.Verdict, d.Why = "refused", ErrClosed.Error()
	}
	return d
}

// Report implements [health.Reporter].
func (c *carrier) Report() health.Report {
	now := time.Now()
	r := c.view.Report(now, reportRole)
	r.Name = c.opts.Name
	if snap := c.view.Current(now); len(snap.Use) == 0 {
		if err := none(snap); err != ErrNoBackend {
			r.Why = err.Error()
		}
	}
	r.Metrics = []health.Metric{
		health.Level("connections_open", "Connections of Serve in hand.", "", float64(c.conns.Load())),
		health.Level("connections_queued", "Connections that wait for a place at a backend.", "", float64(c.view.Waiting())),
		health.Count("connections_refused_total", "Connections that could not be carried.", c.refused.Load()),
		health.Count("connections_cut_total", "Connections cut because their backend was no longer to be used.", c.cut.Load()),
		health.Count("retries_total", "Retries at another backend, by why.", c.retried.Load(), health.Label{Name: "reason", Value: "unreachable"}),
	}
	return r
}

// SetPrimary makes the named backend the incumbent, as an operator may decide
// when several claim to be primary: if it is fenced, it no longer is, and the
// others that claim to be primary are. It returns [ErrUnknown] if there is no
// such backend, and an error if it does not claim to be primary.
func (c *carrier) SetPrimary(name string) error {
	now, r := time.Now(), c.roles
	r.mu.Lock()
	err := func() error {
		e, err := r.set.Named(name)
		if err != nil {
			return err
		}
		c := r.claimLocked(e)
		if !c.Claims() {
			return fmt.Errorf("balancer: %s does not say that it is primary: make it so first", name)
		}
		c.Left = time.Time{}
		t := election.Throne{Primary: r.throne.Primary, Fenced: make(map[string]string), Deposed: maps.Clone(r.throne.Deposed)}
		maps.Copy(t.Fenced, r.throne.Fenced)
		var claims []election.Claim
		for _, o := range r.claims {
			claims = append(claims, *o)
			if o.Name != name && o.Claims() && o.Role == health.RolePrimary {
				t.Fenced[o.Name] = "claims to be primary, and " + name + " was made so by hand"
			}
		}
		delete(t.Fenced, name)
		t.Enthrone(*c, claims)
		r.enthroneLocked(now, r.throne, t)
		r.electLocked(now, true)
		return nil
	}()
	r.mu.Unlock()
	if err == nil {
		r.set.Refresh(now)
	}
	r.Tell()
	return err
}
