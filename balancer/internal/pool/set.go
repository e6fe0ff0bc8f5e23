package pool

import (
	"context"
	"fmt"
	"iter"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/foretier/foretier/balancer/internal/load"
	"github.com/foretier/foretier/balancer/internal/tracker"
	"github.com/foretier/foretier/health"
)

// A Set is some backends: who they are, how they are, and what has happened to
// them. It owns what its views show, and has the one mutex for all of it. It is
// safe for concurrent use.
type Set struct {
	Opts    Options
	load    load.Pool
	closing context.Context // ends with close
	close   context.CancelFunc
	shares  shares
	Whole   *View       // of all backends
	avoided atomic.Bool // others have been preferred to one: see avoid

	Mu      sync.Mutex     // serializes those who write snapshots
	views   []*View        // guarded by mu: the whole first
	events  []health.Event // guarded by mu: the latest, oldest first
	proven  bool           // guarded by mu: a probe has succeeded
	changes []change       // guarded by mu: what opts.changed has not been told
}

// Options say what a set is to do. All have their defaults filled in.
type Options struct {
	Name     string // for logs, events and errors
	Log      *slog.Logger
	Probe    health.Probe // nil: none
	Schedule health.Schedule
	Outlier  health.Outlier
	// Source yields the members while run runs; nil: they are those of update.
	Source func(context.Context) iter.Seq2[[]Spec, error]
	// Join makes the way to a new member, and what its probes are told.
	Join func(Spec) (way any, target health.Target)
	// Leave lets go of the way to one that was removed, or of all at the end.
	Leave func(way any)
	// Judge says who may serve besides being well; nil: all may.
	Judge Judge
	// Strict takes one whose probe has never succeeded for down once that of
	// another has: see believeLocked.
	Strict bool
	// Changed is told each change of a state by run; nil: nobody is.
	Changed func(*Entry, time.Time)
}

// A Judge says which members may serve besides being well.
type Judge interface {
	// Probed is told each probe that began at asked, and reports whether
	// that has changed an answer of Standing.
	Probed(e *Entry, asked, now time.Time, res health.Result, err error) bool
	// Standing returns how m stands.
	Standing(m *Member) Standing
	// Vacant reports whether members should be asked more often.
	Vacant() bool
}

// A Standing is what a judge says of a member.
type Standing struct {
	Barred string // why it gets nothing new; empty: it may
	Own    any    // what else the judge knows
}

// A change is one that a set's owner is to be told.
type change struct {
	entry *Entry
	now   time.Time
}

func New(opts Options, l Limits, p Policy) *Set {
	s := &Set{Opts: opts, shares: newShares(l)}
	s.closing, s.close = context.WithCancel(context.Background())
	s.Whole = newView(s.closing, s, l, p, nil)
	s.views = []*View{s.Whole}
	return s
}

// Update replaces the members, whose names must be unique. Those whose name and
// place are known keep their state; new ones beside others start slowly.
func (s *Set) Update(specs []Spec) error {
	s.Mu.Lock()
	defer s.Mu.Unlock()
	if s.closing.Err() != nil {
		return ErrClosed
	}
	old, now := s.Whole.Snap.Load(), time.Now()
	entries := make([]*Entry, len(specs))
	kept := make(map[*Member]bool, len(entries))
	for i, c := range specs {
		e := &Entry{Spec: c}
		if was := old.ByName[c.Name]; was != nil && c.At != "" && was.At == c.At {
			e.Member = was.Member
		} else {
			e.Member = s.newMember(c)
			if len(old.All) > 0 { // it joins others that are warm
				e.risen.Store(now.UnixNano())
			}
		}
		kept[e.Member] = true
		entries[i] = e
	}
	s.publishLocked(entries, now)
	for _, e := range old.All {
		if !kept[e.Member] {
			s.Opts.Leave(e.Way)
		}
	}
	return nil
}

func (s *Set) newMember(c Spec) *Member {
	m := &Member{
		hash:    Hash64(c.Name),
		Load:    load.New(&s.load),
		Tracker: tracker.New(s.Opts.Schedule, s.Opts.Outlier, s.Opts.Probe != nil),
		nudged:  make(chan struct{}, 1),
	}
	m.Way, m.Target = s.Opts.Join(c)
	return m
}

// SetMode tells what an operator wants of the named member.
func (s *Set) SetMode(name string, m Mode) error {
	if m > maintenance {
		return fmt.Errorf("balancer: %v is none of ready, drain and maintenance", m)
	}
	s.Mu.Lock()
	defer s.Mu.Unlock()
	e, err := s.Named(name)
	if err != nil {
		return err
	}
	now := time.Now()
	if m == drain {
		e.drained.Store(now.Add(drainFor).UnixNano())
	}
	if Mode(e.mode.Swap(uint32(m))) != m {
		s.eventLocked(now, name, "set to "+m.String())
		s.RefreshLocked(now)
	}
	return nil
}

// Named returns the member of that name, or errStranger.
func (s *Set) Named(name string) (*Entry, error) {
	e := s.Whole.Snap.Load().ByName[name]
	if e == nil {
		return nil, fmt.Errorf("%w: %q in pool %s", ErrUnknown, name, s.Opts.Name)
	}
	return e, nil
}

// A Result is what became of a request or a connection, as evidence.
type Result struct {
	Outcome tracker.Outcome
	Request bool    // not a connection
	Witness Witness // whose request failed; zero: it did not, or is none
	// Doubtful says that it may be how a protocol goes, so that the others
	// must do clearly better.
	Doubtful bool
}

// Observe judges what became of a request or a connection at e.
func (s *Set) Observe(e *Entry, now time.Time, r Result) {
	if r.Witness.at != 0 {
		e.blame.add(r.Witness)
	}
	if r.Outcome == tracker.Failed || r.Outcome == tracker.Refused {
		e.Failures.Add(1)
	}
	eject, changed := e.Tracker.Observe(now, r.Outcome)
	if !eject && !changed {
		return
	}
	s.Mu.Lock()
	defer s.Mu.Unlock()
	if eject && s.mayEjectLocked(e, now, r) {
		e.Tracker.Eject(now, rand.Float64())
	}
	s.RefreshLocked(now)
}

// mayEjectLocked reports whether e may be taken out: on hard evidence always;
// on soft only while enough others are left, and for a low share of answers
// only if the others' is clearly better: one broken page that everybody asks
// for is no broken server. The same holds for doubtful evidence. Of requests
// several clients' must have failed, and several: see [blameClients].
func (s *Set) mayEjectLocked(e *Entry, now time.Time, r Result) bool {
	hard, share := e.Tracker.Suspect()
	share = share || r.Doubtful
	if hard {
		return true
	}
	clients, urls, erred := e.blame.weigh(now.Add(-s.Opts.Outlier.Window))
	if r.Request && !(clients && urls) {
		return false
	}
	out, all, theirs, asked := s.others(e, now)
	if own, _ := e.Tracker.Share(now); share && asked && theirs < own+clearlyBetter {
		return false
	}
	if r.Request && erred && out >= max(1, int(erredShare*float64(all))) {
		return false
	}
	return tracker.MayEject(s.Opts.Outlier, out, all)
}

// others returns how many of all are out on soft evidence beside e, and the share of
// answers of the rest, if they were asked.
func (s *Set) others(e *Entry, now time.Time) (out, all int, share float64, asked bool) {
	members := s.Whole.Snap.Load().All
	good, n := 0.0, 0
	for _, other := range members {
		if other.Member == e.Member {
			continue
		}
		if other.Verdict.State == health.Degraded && !other.Verdict.Until.IsZero() {
			out++
			continue
		}
		part, of := other.Tracker.Share(now)
		good, n = good+part*float64(of), n+of
	}
	if n > 0 {
		share = good / float64(n)
	}
	return out, len(members), share, n > 0
}

// Avoid has others preferred to e until then.
func (s *Set) Avoid(e *Entry, until time.Time) {
	e.Member.avoid.Store(until.UnixNano())
	s.avoided.Store(true)
}

// clearlyBetter is by how much the others' share of answers must be higher.
const clearlyBetter = 0.25

// End closes the set: run ends, and update fails. It is idempotent.
func (s *Set) End() {
	s.close()
	s.Mu.Lock()
	defer s.Mu.Unlock()
	for _, e := range s.Whole.Snap.Load().All {
		s.Opts.Leave(e.Way)
	}
}
