package pool

import (
	"fmt"
	"math"
	"time"

	"github.com/foretier/foretier/balancer/internal/load"
	"github.com/foretier/foretier/balancer/internal/tracker"
	"github.com/foretier/foretier/health"
)

// Update replaces the members, whose names must be unique. Those whose name and
// place are known keep their state; new ones beside others start slowly.
func (s *Set) Update(specs []Spec) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing.Err() != nil {
		return ErrClosed
	}
	old, now := s.Whole.Snap.Load(), time.Now()
	entries := make([]*Entry, len(specs))
	kept := make(map[*Member]bool, len(entries))
	for i, c := range specs {
		e := &Entry{Spec: c}
		if was := old.ByName(c.Name); was != nil && c.At != "" && was.At == c.At {
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
			s.Opts.DropWay(e.Way)
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
	m.Way, m.Target = s.Opts.MakeWay(c)
	return m
}

// SetMode tells what an operator wants of the named member.
func (s *Set) SetMode(name string, m Mode) error {
	if m > maintenance {
		return fmt.Errorf("balancer: %v is none of ready, drain and maintenance", m)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
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
		s.refreshLocked(now)
	}
	return nil
}

// Named returns the member of that name, or [ErrUnknown].
func (s *Set) Named(name string) (*Entry, error) {
	e := s.Whole.Snap.Load().ByName(name)
	if e == nil {
		return nil, fmt.Errorf("%w: %q in pool %s", ErrUnknown, name, s.Opts.Name)
	}
	return e, nil
}

// Refresh makes the snapshots anew.
func (s *Set) Refresh(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refreshLocked(now)
}

// refreshLocked makes the snapshots anew from the members' states.
func (s *Set) refreshLocked(now time.Time) {
	old := s.Whole.Snap.Load()
	entries := make([]*Entry, len(old.All))
	for i, e := range old.All {
		entries[i] = &Entry{Spec: e.Spec, Member: e.Member}
	}
	s.publishLocked(entries, now)
}

// publishLocked judges the entries and swaps them in.
func (s *Set) publishLocked(entries []*Entry, now time.Time) {
	old := s.Whole.Snap.Load()
	snap := &Snapshot{All: entries, names: namesOf(entries, old), until: math.MaxInt64}
	for _, e := range entries {
		e.Health = e.Tracker.Health(now)
		if h := e.Health; s.Opts.Probe != nil && h.State == health.Up && !h.Trial {
			s.proven = true
		}
	}
	for _, e := range entries {
		s.believeLocked(e)
		if s.Opts.Judge != nil {
			e.Standing = s.Opts.Judge.Standing(e.Member)
		}
		if !e.Health.Risen.IsZero() {
			e.risen.Store(e.Health.Risen.UnixNano())
		}
		if u := e.Health.Until; !u.IsZero() {
			snap.until = min(snap.until, u.UnixNano())
		}
	}
	snap.choose(entries, &s.weights)
	for _, v := range s.views {
		v.showLocked(snap, now)
	}
	s.recordLocked(old, snap, now) // last of all that others wait for: a log may take its time
	for _, e := range entries {
		if was := old.ByName(e.Name); was != nil && was.Member == e.Member && e.Health.State == health.Down && was.Health.State != health.Down {
			e.rescue(snap)
		}
	}
}

// answeredLocked publishes that e, of which nothing was known, has answered, if
// nothing else is new, and reports whether that was all. Who serves stays as it was:
// with many members everything need not be made anew for the first answer of each.
func (s *Set) answeredLocked(e *Entry, now time.Time) bool {
	old := s.Whole.Snap.Load()
	was := old.ByName(e.Name)
	if was == nil || was.Member != e.Member || !only(was.Health, health.Unknown) || s.Opts.Probe != nil || s.Opts.Judge != nil || now.UnixNano() >= old.until {
		return false
	}
	h := e.Tracker.Health(now)
	if !only(h, health.Up) || !was.available() {
		return false
	}
	is := &Entry{Spec: was.Spec, Member: was.Member, Health: h}
	snap := old.replace(was, is)
	for _, v := range s.views {
		v.showLocked(snap, now)
	}
	s.recordStateLocked(is, now)
	return true
}

// only reports whether h says state, and nothing else of weight.
func only(h tracker.Health, state health.State) bool {
	h.Since, h.Why = time.Time{}, ""
	return h == tracker.Health{State: state}
}

// believeLocked takes e for down if its probe has never succeeded, and that of
// another has: the check is there, and it says no, as Patroni's does on all but
// one. That is for connections: of requests it may be a file that is missing,
// and answers tell more.
func (s *Set) believeLocked(e *Entry) {
	if h := &e.Health; s.Opts.Strict && s.proven && h.Fails {
		h.State, h.Await = health.Down, false
		h.Why = "fails its probes, which others pass: " + h.Why
	}
}

// A rescuer is who holds a ticket and may be moved to another backend.
type rescuer interface{ Rescue() }

// rescue moves the requests that wait on e, which has just turned down, to
// another backend, if there is one that is alive: nobody should wait for a
// minute on a server that is known to be dead. What may not be repeated keeps
// waiting.
func (e *Entry) rescue(snap *Snapshot) {
	alive := len(snap.rest) > 0
	for _, other := range snap.Use {
		alive = alive || other.Health.State != health.Down
	}
	if !alive {
		return
	}
	e.Load.EachOwner(func(owner any) {
		if w, ok := owner.(rescuer); ok {
			w.Rescue()
		}
	})
}
