package balancer

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httputil"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/foretier/foretier/balancer/internal/election"
	"github.com/foretier/foretier/balancer/internal/inprocess"
	"github.com/foretier/foretier/balancer/internal/load"
	"github.com/foretier/foretier/health"
	"github.com/foretier/foretier/internal/target"
)

// A Pool gives requests to its backends. It is safe for concurrent use.
type Pool struct {
	opts  Options
	log   *slog.Logger
	proxy *httputil.ReverseProxy
	hop   hop

	snap     atomic.Pointer[snapshot]
	load     load.Pool
	inflight atomic.Int64 // requests in RoundTrip or with an open body
	retried  atomic.Uint64
	budget   budget
	depot    depot // of bodies kept for slow clients
	coming   quota // places held by requests whose bodies have not come yet
	queue    queue
	shares   shares          // of the places, by client
	carried  carried         // connections in hand
	dialer   net.Dialer      // of those
	closing  context.Context // ends with Close
	close    context.CancelFunc

	mu      sync.Mutex     // serializes writers of snap
	changed chan struct{}  // guarded by mu: closed at the next change
	events  []health.Event // guarded by mu: the latest, oldest first
	proven  bool           // guarded by mu: a probe has succeeded, with a backend for connections
	changes []Status       // guarded by mu: what Trace has not been told

	roles    roles
	of       *Pool               // the whole, of an excerpt: see Only
	filters  []func(Status) bool // of an excerpt
	excerpts []*Pool             // guarded by mu
}

// New returns a pool of the given backends, which may be none. It starts
// nothing: see [Pool.Run]. Names must be unique.
func New(backends []Backend, opts Options) (*Pool, error) {
	opts, err := opts.withDefaults()
	if err != nil {
		return nil, err
	}
	p := &Pool{
		opts:    opts,
		log:     opts.Logger.With("pool", opts.Name),
		changed: make(chan struct{}),
		dialer:  newDialer(opts.TCP),
	}
	p.shares = newShares(opts.Limit)
	p.carried.init()
	p.depot.init(p)
	p.roles.memory = opts.Roles.Memory
	if p.roles.throne, err = election.Recall(opts.Roles.Memory); err != nil {
		return nil, err
	}
	p.closing, p.close = context.WithCancel(context.Background())
	p.proxy = p.newProxy()
	if p.hop, err = newHop(opts.Via); err != nil {
		return nil, fmt.Errorf("balancer: %w", err)
	}
	p.snap.Store(new(snapshot))
	if err := p.Update(backends); err != nil {
		return nil, err
	}
	return p, nil
}

// Update replaces the backends. Those whose name and address are known keep
// their state; new ones beside others start slowly; removed ones finish what
// they have in hand. On an error nothing has changed.
func (p *Pool) Update(backends []Backend) error {
	p = p.root()
	entries := make([]*entry, len(backends))
	seen := make(map[string]bool, len(backends))
	for i, b := range backends {
		b, u, err := b.resolve()
		if err != nil {
			return err
		}
		if seen[b.Name] {
			return fmt.Errorf("balancer: two backends are named %q: a name is unique within its pool", b.Name)
		}
		seen[b.Name] = true
		entries[i] = &entry{Backend: b, url: u, base: target.Sent(u)}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closing.Err() != nil {
		return ErrClosed
	}
	old, now := p.snap.Load(), time.Now()
	kept := make(map[*member]bool, len(entries))
	for _, e := range entries {
		if was := old.byName[e.Name]; was != nil && was.url.String() == e.url.String() && was.Handler == nil && e.Handler == nil {
			e.member = was.member
		} else {
			e.member = p.newMember(e)
			if len(old.all) > 0 { // it joins others that are warm
				e.risen.Store(now.UnixNano())
			}
		}
		kept[e.member] = true
	}
	p.publishLocked(entries, now)
	for _, e := range old.all {
		if !kept[e.member] {
			release(e.transport)
		}
	}
	return nil
}

func (p *Pool) newMember(e *entry) *member {
	m := &member{
		hash:    hashString(e.Name),
		load:    load.New(&p.load),
		tracker: health.NewTracker(p.opts.Schedule, p.opts.Outlier, p.opts.Probe != nil),
		nudged:  make(chan struct{}, 1),
	}
	m.target = health.Target{Name: e.Name, URL: e.url, TLS: p.opts.TLS}
	if announce := p.opts.TCP.Announce; announce != 0 && e.Handler == nil && (e.url.Scheme == "tcp" || e.url.Scheme == "tls") {
		m.target.Preface = announce.header(nil) // a probe has no client
	}
	switch {
	case e.Handler != nil:
		m.transport = inprocess.Transport{Handler: e.Handler}
		m.target.Transport = m.transport
	case p.opts.Transport != nil:
		m.transport = p.opts.Transport(e.Backend)
		m.target.Transport = m.transport
	default:
		m.transport = newTransport(e.url, p.opts)
	}
	return m
}

// release lets go of a transport's idle connections.
func release(rt any) {
	if c, ok := rt.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}

// SetMode tells what an operator wants of the named backend. It returns
// [ErrUnknown] if there is none.
func (p *Pool) SetMode(name string, m Mode) error {
	p = p.root()
	if m > Maintenance {
		return fmt.Errorf("balancer: %v is none of Ready, Drain and Maintenance", m)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	e := p.snap.Load().byName[name]
	if e == nil {
		return fmt.Errorf("%w: %q in pool %s", ErrUnknown, name, p.opts.Name)
	}
	now := time.Now()
	if m == Drain {
		e.drained.Store(now.Add(drainFor).UnixNano())
	}
	if Mode(e.mode.Swap(uint32(m))) != m {
		p.eventLocked(now, name, "set to "+m.String())
		p.refreshLocked(now)
	}
	return nil
}

// Backends returns how each backend is, in the order given.
func (p *Pool) Backends() []Status {
	now := time.Now()
	snap := p.current(now)
	out := make([]Status, len(snap.all))
	for i, e := range snap.all {
		out[i] = e.status(now)
	}
	return out
}

func (e *entry) status(now time.Time) Status {
	b := e.Backend
	b.Labels = maps.Clone(b.Labels)
	return Status{
		Backend:  b,
		Mode:     e.wanted(),
		State:    e.verdict.State,
		Why:      e.verdict.Why,
		Since:    e.verdict.Since,
		Until:    e.verdict.Until,
		InFlight: e.load.InFlight(),
		Streams:  e.load.Streams(),
		Waiting:  e.load.Waiting(),
		Latency:  e.load.Latency(now),
		Requests: e.requests.Load(),
		Failures: e.failures.Load(),
		Role:     e.rank.Role,
		Epoch:    e.rank.Epoch,
		Lag:      e.rank.Lag,
		Primary:  e.rank.Primary,
		Barred:   e.rank.Barred,
	}
}

// observe judges what became of a request at e; r is nil for a connection.
func (p *Pool) observe(e *entry, now time.Time, r *http.Request, o health.Outcome) {
	p.judge(e, now, r, o, false)
}

// judge is observe. doubtful says that o may be how a protocol goes, so that
// the others must do clearly better.
func (p *Pool) judge(e *entry, now time.Time, r *http.Request, o health.Outcome, doubtful bool) {
	p = p.root()
	if r != nil && (o == health.Failed || o == health.Erred) {
		e.blame.add(now, r, o)
	}
	if o == health.Failed || o == health.Refused {
		e.failures.Add(1)
	}
	eject, changed := e.tracker.Observe(now, o)
	if !eject && !changed {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if eject && p.mayEjectLocked(e, now, r != nil, doubtful) {
		e.tracker.Eject(now, rand.Float64())
	}
	p.refreshLocked(now)
}

// mayEjectLocked reports whether e may be taken out: on hard evidence always;
// on soft only while enough others are left, and for a low share of answers
// only if the others' is clearly better: one broken page that everybody asks
// for is no broken server. The same holds for doubtful evidence. Of requests
// several clients' must have failed, and several: see [blameClients].
func (p *Pool) mayEjectLocked(e *entry, now time.Time, requests, doubtful bool) bool {
	hard, share := e.tracker.Suspect()
	share = share || doubtful
	if hard {
		return true
	}
	clients, urls, erred := e.blame.weigh(now.Add(-p.opts.Outlier.Window))
	if requests && !(clients && urls) {
		return false
	}
	all := p.snap.Load().all
	out, good, asked := 0, 0.0, 0
	for _, other := range all {
		if other.member == e.member {
			continue
		}
		if other.verdict.State == health.Degraded && !other.verdict.Until.IsZero() {
			out++
			continue
		}
		part, n := other.tracker.Share(now)
		good, asked = good+part*float64(n), asked+n
	}
	if own, _ := e.tracker.Share(now); share && asked > 0 && good/float64(asked) < own+clearlyBetter {
		return false
	}
	if requests && erred && out >= max(1, int(erredShare*float64(len(all)))) {
		return false
	}
	return p.opts.Outlier.MayEject(out, len(all))
}

// clearlyBetter is by how much the others' share of answers must be higher.
const clearlyBetter = 0.25

// BasePaths returns the paths that the backends' URLs put in front of a
// request's, each once.
func (p *Pool) BasePaths() []string {
	var out []string
	for _, e := range p.snap.Load().all {
		if e.base != "" && !slices.Contains(out, e.url.Path) {
			out = append(out, e.url.Path)
		}
	}
	return out
}

// Healthy reports whether the pool could serve r by a backend that is not
// down.
func (p *Pool) Healthy(*http.Request) bool {
	for _, e := range p.current(time.Now()).use {
		if e.verdict.State != health.Down {
			return true
		}
	}
	return false
}

// Close ends [Pool.Run] and what is probed, refuses further requests, and lets
// go of idle connections. What is in hand is finished. It is idempotent.
func (p *Pool) Close() error {
	p.close()
	if p.of != nil {
		p.of.mu.Lock()
		defer p.of.mu.Unlock()
		p.of.excerpts = slices.DeleteFunc(p.of.excerpts, func(v *Pool) bool { return v == p })
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, e := range p.snap.Load().all {
		release(e.transport)
	}
	return nil
}
