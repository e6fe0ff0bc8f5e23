package balancer

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/foretier/foretier/balancer/internal/pool"
	"github.com/foretier/foretier/health"
)

// A Pool gives requests to its backends. It is safe for concurrent use.
type Pool struct {
	*proxy
	set *pool.Set
}

// An Excerpt gives requests to those backends of a [Pool] that pass a filter:
// see [Pool.Only]. It is safe for concurrent use.
type Excerpt struct{ *proxy }

// New returns a pool of the given backends, which may be none. It starts
// nothing: see [Pool.Run]. Names must be unique.
func New(backends []Backend, opts Options) (*Pool, error) {
	opts, err := opts.withDefaults()
	if err != nil {
		return nil, err
	}
	h, err := newHop(opts.Via)
	if err != nil {
		return nil, fmt.Errorf("balancer: %w", err)
	}
	s := pool.New(pool.Options{
		Name:     opts.Name,
		Log:      opts.Logger.With("pool", opts.Name),
		Probe:    opts.Probe,
		Schedule: opts.Schedule,
		Outlier:  opts.Outlier,
		MakeWay:  opts.makeWay,
		DropWay:  func(w any) { release(w.(*way).transport) },
	}, pool.Limits(opts.Limits), picker(opts.Policy))
	if opts.Source != nil {
		s.Opts.Source = pool.Yield(opts.Source.Backends, opts.specOf)
	}
	if opts.Trace != nil && opts.Trace.Changed != nil {
		s.Opts.Changed = func(e *pool.Entry, now time.Time) { opts.Trace.Changed(statusAt(e, now)) }
	}
	p := &Pool{proxy: newProxy(opts, s.Whole, h), set: s}
	p.self = p
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
//	blue := shop.Only("blue", func(s balancer.Status) bool { return s.Labels["color"] == "blue" })
//
// name is for logs and reports. A filter is asked at each change of a state,
// not for each request; it must not call the pool. What is returned needs no
// Run, and ends with the pool; its Close ends it alone.
func (p *proxy) Only(name string, filters ...func(Status) bool) *Excerpt {
	opts := p.opts
	opts.Name = name
	list := make([]pool.Filter, len(filters))
	for i, f := range filters {
		list[i] = func(e *pool.Entry, now time.Time, atBest bool) bool { return f(statusAt(e, now)) }
	}
	e := &Excerpt{newProxy(opts, p.view.Only(list), p.hop)}
	e.self = e
	return e
}

// Update replaces the backends. Those whose name and address are known keep
// their state; new ones beside others start slowly; removed ones finish what
// they have in hand. On an error nothing has changed.
func (p *Pool) Update(backends []Backend) error {
	specs, err := pool.Specs(backends, p.opts.specOf)
	if err != nil {
		return err
	}
	return p.set.Update(specs)
}

// Run probes the backends and follows the Source until ctx ends or the pool is
// closed, and returns once all probes have ended. Without it, or without a
// Probe, the pool learns from its requests alone. It is called once at a time.
func (p *Pool) Run(ctx context.Context) error {
	p.set.Run(ctx)
	return nil
}

// SetMode tells what an operator wants of the named backend. It returns
// [ErrUnknown] if there is none.
func (p *proxy) SetMode(name string, m Mode) error {
	return p.view.Set.SetMode(name, pool.Mode(m))
}

// Act implements [health.Actor] with the verbs ready, drain and maintenance,
// of which part is the backend.
func (p *proxy) Act(_ context.Context, part, verb, arg string) error {
	if arg != "" {
		return fmt.Errorf("balancer: %s %s: want no further word, not %q", verb, part, arg)
	}
	m, err := pool.ParseMode(verb)
	if err != nil {
		return err
	}
	return p.view.Set.SetMode(part, m)
}

// Close ends [Pool.Run] and what is probed, refuses further requests, and lets
// go of idle connections. What is in hand is finished. It is idempotent.
func (p *Pool) Close() error {
	p.set.End()
	return nil
}

// Close refuses further requests. What is in hand is finished, and the pool of
// which this is an excerpt goes on. It is idempotent.
func (e *Excerpt) Close() error {
	e.view.End()
	return nil
}

// WaitReady returns once the pool has been told by its probes that a backend is
// up. A pool without a Probe is ready at once. It needs [Pool.Run] to be
// running, and returns the cause of ctx's end if that comes first.
func (p *proxy) WaitReady(ctx context.Context) error { return p.view.WaitReady(ctx) }

// Backends returns how each backend is, in the order given.
func (p *proxy) Backends() []Status {
	now := time.Now()
	snap := p.view.Current(now)
	out := make([]Status, len(snap.All))
	for i, e := range snap.All {
		out[i] = statusAt(e, now)
	}
	return out
}

// BasePaths returns the paths that the backends' URLs put in front of a
// request's, each once.
func (p *proxy) BasePaths() []string {
	var out []string
	for _, e := range p.view.Snap.Load().All {
		if w := wayTo(e); w.base != "" && !slices.Contains(out, w.url.Path) {
			out = append(out, w.url.Path)
		}
	}
	return out
}

// Healthy reports whether the pool could serve r by a backend that is not
// down.
func (p *proxy) Healthy(*http.Request) bool { return p.view.Healthy(time.Now()) }

// Report implements [health.Reporter].
func (p *proxy) Report() health.Report {
	r := p.view.Report(time.Now(), nil)
	r.Name = p.opts.Name
	r.Metrics = []health.Metric{
		health.Level("requests_in_flight", "Requests from their pick to the end of their body, streams too.", "", float64(p.inflight.Load())),
		health.Level("requests_queued", "Requests that wait for a place at a backend.", "", float64(p.view.Waiting())),
		health.Level("buffered_bytes", "Buffered responses and requests of slow clients, in memory.", "bytes", float64(p.depot.answers.Held()+p.depot.memory.Held())),
		health.Level("spooled_bytes", "Spooled responses and requests of slow clients, on disk.", "bytes", float64(p.depot.disk.Held())),
	}
	r.Metrics = append(r.Metrics, p.retried.metrics()...)
	return r
}
