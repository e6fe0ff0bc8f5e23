package balancer

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/foretier/foretier/health"
)

// Only returns a pool of those backends that pass a filter: the same backends
// with the same states and the same load, fewer of them. With several filters,
// those that pass the first are used as long as one of them is alive, then
// those that pass the second, and so on:
//
//	writes := db.Only("writes", balancer.Primary)
//	reads := db.Only("reads", balancer.Replicas(5*time.Second), balancer.Primary)
//
// name is for logs and reports. A filter is asked at each change of a state or
// a role, not for each request; it must not call the pool. Connections to a
// backend that passes none of them any more are cut, unless it was removed, or
// would pass if it were at its best: up, without lag, without load. That is a
// preference, and for new connections only.
//
// The pool that is returned probes nothing: [Pool.Run] of the whole does, and
// its own only waits. It ends with the whole; its own Close ends it alone.
func (p *Pool) Only(name string, filters ...func(Status) bool) *Pool {
	root := p.root()
	opts := p.opts
	opts.Name = name
	v := &Pool{
		opts:    opts,
		log:     opts.Logger.With("pool", name),
		changed: make(chan struct{}),
		dialer:  newDialer(opts.TCP),
		hop:     p.hop,
		shares:  p.shares,
		of:      root,
		filters: slices.Clone(filters),
	}
	v.carried.init()
	v.depot.init(v)
	if p != root { // of an excerpt, less
		outer := p.filters
		for i, inner := range v.filters {
			v.filters[i] = func(s Status) bool {
				return inner(s) && slices.ContainsFunc(outer, func(f func(Status) bool) bool { return f(s) })
			}
		}
	}
	v.closing, v.close = context.WithCancel(p.closing)
	v.proxy = v.newProxy()
	v.snap.Store(new(snapshot))
	root.mu.Lock()
	defer root.mu.Unlock()
	root.excerpts = append(root.excerpts, v)
	v.narrowLocked(root.snap.Load(), time.Now())
	return v
}

// root returns the whole pool of which p is an excerpt, or p.
func (p *Pool) root() *Pool {
	if p.of != nil {
		return p.of
	}
	return p
}

// narrowLocked publishes what the filters leave of the whole. The whole's
// mutex is held.
func (p *Pool) narrowLocked(whole *snapshot, now time.Time) {
	snap := &snapshot{byName: make(map[string]*entry), until: whole.until}
	pass := make([]int, len(whole.all))      // the first filter that each passes
	first, alive := math.MaxInt, math.MaxInt // that somebody well, or alive, passes
	for i, e := range whole.all {
		s := e.status(now)
		pass[i] = p.passes(s)
		if pass[i] < 0 {
			snap.others = append(snap.others, e)
			if p.passes(s.atBest()) >= 0 {
				snap.kept = append(snap.kept, e)
			}
			continue
		}
		snap.all = append(snap.all, e)
		snap.byName[e.Name] = e
		if !e.available() || e.verdict.State == health.Down {
			continue
		}
		alive = min(alive, pass[i])
		if e.verdict.State != health.Degraded {
			first = min(first, pass[i])
		}
	}
	if first == math.MaxInt {
		first = alive
	}
	var list []*entry
	for i, e := range whole.all {
		if pass[i] >= 0 && (first == math.MaxInt || pass[i] == first) {
			list = append(list, e)
		}
	}
	snap.choose(list)
	p.snap.Store(snap)
	p.carried.cutLeaving(snap)
	p.mu.Lock()
	defer p.mu.Unlock()
	close(p.changed)
	p.changed = make(chan struct{})
}

// passes returns the first filter that s passes, or -1.
func (p *Pool) passes(s Status) int {
	return slices.IndexFunc(p.filters, func(f func(Status) bool) bool { return f(s) })
}

// atBest returns s as it would be if nothing were wrong with the backend for
// the moment: with its name, its labels and its role, and without trouble.
func (s Status) atBest() Status {
	return Status{Backend: s.Backend, State: health.Up, Requests: s.Requests, Role: s.Role, Epoch: s.Epoch, Primary: s.Primary}
}

// available reports whether e may get anything new: its operator and its role
// allow it.
func (e *entry) available() bool { return e.wanted() == Ready && e.rank.Barred == "" }

// none returns why nobody serves.
func (s *snapshot) none() error {
	var why []string
	for _, e := range slices.Concat(s.all, s.others) {
		if e.rank.Barred != "" {
			why = append(why, e.Name+" "+e.rank.Barred)
		} else if e.rank.Role != "" {
			what := e.Name + " is a " + e.rank.Role
			if e.rank.Lag > 0 && e.rank.Lag < math.MaxInt64 {
				what += fmt.Sprintf(", %v behind", e.rank.Lag.Round(time.Millisecond))
			} else if e.rank.Lag > 0 {
				what += ", nobody knows how far behind"
			}
			why = append(why, what)
		}
	}
	if len(why) == 0 {
		return ErrNoBackend
	}
	return fmt.Errorf("%w: %s", ErrNoBackend, strings.Join(why, "; "))
}
