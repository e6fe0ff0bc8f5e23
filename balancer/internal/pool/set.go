package pool

import (
	"context"
	"iter"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/foretier/foretier/balancer/internal/load"
	"github.com/foretier/foretier/health"
	"github.com/foretier/foretier/internal/fair"
)

// A Set is some backends: who they are, how they are, and what has happened to
// them. It owns what its views show, and has the one mutex for all of it. It is
// safe for concurrent use.
type Set struct {
	Opts    Options
	load    load.Pool
	closing context.Context // ends with End
	close   context.CancelFunc
	shares  shares
	Whole   *View         // of all backends
	avoided atomic.Bool   // others have been preferred to one: see Avoid
	weights atomic.Uint64 // their version: see weighing

	mu      sync.Mutex     // serializes those who write snapshots
	views   []*View        // guarded by mu: the whole first
	events  []health.Event // guarded by mu: the latest, oldest first
	proven  bool           // guarded by mu: a probe has succeeded
	changes []change       // guarded by mu: what Options.Changed has not been told
}

// Options say what a set is to do. All have their defaults filled in.
type Options struct {
	Name     string // for logs, events and errors
	Log      *slog.Logger
	Probe    health.Probe // nil: none
	Schedule health.Schedule
	Outlier  health.Outlier
	// Source yields the members while Run runs; nil: they are those of Update.
	Source func(context.Context) iter.Seq2[[]Spec, error]
	// MakeWay makes the way to a new member, and what its probes are told.
	MakeWay func(Spec) (way any, target health.Target)
	// DropWay closes what the way to a removed member keeps; at the end, of each.
	DropWay func(way any)
	// Judge says who may serve besides being well; nil: all may.
	Judge Judge
	// Strict takes one whose probe has never succeeded for down once that of
	// another has: see believeLocked.
	Strict bool
	// Changed is told each change of a state by Run; nil: nobody is.
	Changed func(*Entry, time.Time)
}

// A Judge says which members may serve besides being well.
type Judge interface {
	// Probed is told each probe that began at asked, and reports whether
	// that has changed an answer of Standing.
	Probed(e *Entry, asked, now time.Time, res health.Result, err error) bool
	// Standing returns how m stands.
	Standing(m *Member) Standing
	// Tell logs what has been decided so far, once it has taken effect: who reads a
	// log may stand still, or act on it.
	Tell()
	// Vacant reports whether members should be asked more often.
	Vacant() bool
}

// A View is those of a set's members that pass a filter, with a queue of its
// own. It is safe for concurrent use.
type View struct {
	Set     *Set
	Closing context.Context // ends with End, and with the set
	close   context.CancelFunc
	filters []Filter // nil: all pass
	Snap    atomic.Pointer[Snapshot]
	Limits  Limits
	policy  Policy
	queue   queue
	shares  shares // of the places, by client: those of the set

	changed   chan struct{}   // guarded by Set.mu: closed at the next change
	published func(*Snapshot) // guarded by Set.mu: is told each snapshot; nil: nobody is
}

// A Filter reports whether e passes now, and, at its best, would if nothing were
// wrong with it for the moment: if it were up, without lag and without load.
type Filter func(e *Entry, now time.Time, atBest bool) bool

// shares counts what each client holds of each backend's places, for a pool and
// all its excerpts. What has no limit is not counted.
type shares struct{ requests, streams *fair.Table }

func newShares(l Limits) (s shares) {
	if l.InFlight > 0 {
		s.requests = new(fair.Table)
	}
	if l.Streams > 0 {
		s.streams = new(fair.Table)
	}
	return s
}

// A change is one that a set's owner is to be told.
type change struct {
	entry *Entry
	now   time.Time
}

// New returns a set without members, whose views have these limits and this policy.
// It starts nothing.
func New(opts Options, l Limits, p Policy) *Set {
	s := &Set{Opts: opts, shares: newShares(l)}
	s.closing, s.close = context.WithCancel(context.Background())
	s.Whole = newView(s.closing, s, l, p, nil)
	s.views = []*View{s.Whole}
	return s
}

// newView returns a view that shows nothing yet.
func newView(parent context.Context, s *Set, l Limits, p Policy, filters []Filter) *View {
	if apart, ok := p.(interface{ own() Policy }); ok {
		p = apart.own()
	}
	v := &View{Set: s, Limits: l, policy: p, filters: filters, shares: s.shares, changed: make(chan struct{})}
	v.Closing, v.close = context.WithCancel(parent)
	v.Snap.Store(new(Snapshot))
	return v
}

// End closes the set: Run ends, and Update fails. It is idempotent.
func (s *Set) End() {
	s.close()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.Whole.Snap.Load().All {
		s.Opts.DropWay(e.Way)
	}
}
