package pool

import (
	"cmp"
	"math"
	"slices"
	"sync/atomic"
	"time"

	"github.com/foretier/foretier/balancer/internal/load"
	"github.com/foretier/foretier/balancer/internal/tracker"
	"github.com/foretier/foretier/health"
)

// A Member is what a set keeps of a backend for as long as it has one of that
// name in that place, whatever its weight, tier and labels become.
type Member struct {
	hash    uint64 // of the name
	Load    *load.Load
	Tracker *tracker.Tracker
	blame   blame
	begged  blame // those whom it asked for patience
	Way     any   // to it, as Options.Join has made it
	Target  health.Target

	mode       atomic.Uint32 // a Mode
	risen      atomic.Int64  // when it last came back, in ns; 0: never was away
	reported   atomic.Uint64 // float64 bits: the share that a probe brought
	reportedAt atomic.Int64  // when, in ns; 0: never
	spare      atomic.Int64  // until when it asks for patience, in ns
	asksDrain  atomic.Bool   // a probe said that it wants to be drained
	drained    atomic.Int64  // when Drain ends for those bound to it, in ns
	Requests   atomic.Uint64
	Failures   atomic.Uint64
	avoid      atomic.Int64  // until when others are preferred to it, in ns
	nudged     chan struct{} // room for one: it should be probed soon
}

// drainFor is how long a backend that drains goes on to serve those who are
// bound to it.
const drainFor = 10 * time.Minute

// A Standing is what a judge says of a member.
type Standing struct {
	Barred string // why it gets nothing new; empty: it may
	Own    any    // what else the judge knows
}

// An Entry is a member as one snapshot configures it.
type Entry struct {
	Spec
	*Member
	Health   tracker.Health // when the snapshot was made
	Standing Standing       // likewise
}

// A Snapshot is what picks read. It is never modified.
type Snapshot struct {
	All    []*Entry       // in the order given
	Others []*Entry       // of an excerpt: the rest of the whole
	Kept   []*Entry       // of these, those that keep their connections
	names  map[string]int // where in All; several snapshots may share it
	Use    []*Entry       // for requests that are bound to none
	rest   []*Entry       // alive and not in use: where a request goes that use has failed
	shut   []*Entry       // have refused connections lately, and no probe says more: they may be back
	trial  bool           // one of use is on trial
	forced bool           // those serve that ask to be drained
	until  int64          // when it must be made anew, in ns

	weighing *weighing // of use
}

// ByName returns the entry of that name, or nil.
func (s *Snapshot) ByName(name string) *Entry {
	if i, ok := s.names[name]; ok {
		return s.All[i]
	}
	return nil
}

// replace returns s with another entry in place of one, which serves as that did.
func (s *Snapshot) replace(was, now *Entry) *Snapshot {
	snap := *s
	for _, list := range []*[]*Entry{&snap.All, &snap.Use, &snap.rest} {
		if i := slices.Index(*list, was); i >= 0 {
			*list = slices.Clone(*list)
			(*list)[i] = now
		}
	}
	return &snap
}

// namesOf returns where each of entries is by its name. old's are taken if they are
// the same.
func namesOf(entries []*Entry, old *Snapshot) map[string]int {
	if slices.EqualFunc(entries, old.All, func(a, b *Entry) bool { return a.Name == b.Name }) {
		return old.names
	}
	names := make(map[string]int, len(entries))
	for i, e := range entries {
		names[e.Name] = i
	}
	return names
}

// available reports whether e may get anything new: its operator and its judge
// allow it.
func (e *Entry) available() bool { return e.Wanted() == Ready && e.Standing.Barred == "" }

// drains reports whether e would be available if its probe did not ask to drain
// it.
func (e *Entry) drains() bool {
	return Mode(e.mode.Load()) == Ready && e.asksDrain.Load() && e.Standing.Barred == ""
}

// Wanted returns the mode that the operator or the backend itself asks for.
func (m *Member) Wanted() Mode {
	if set := Mode(m.mode.Load()); set != Ready || !m.asksDrain.Load() {
		return set
	}
	return drain
}

// heard notes what a probe brought besides a state, and reports whether the member
// asks to be drained now and did not before, or the reverse.
func (m *Member) heard(now time.Time, res health.Result) bool {
	if res.Weight > 0 {
		m.reported.Store(math.Float64bits(min(res.Weight, 10)))
		m.reportedAt.Store(now.UnixNano())
	}
	if m.asksDrain.Swap(res.Drain) == res.Drain {
		return false
	}
	if res.Drain {
		m.drained.Store(now.Add(drainFor).UnixNano())
	}
	return true
}

// choose says who of list serves, and who of all is left beside them. version is that
// of their weights.
func (s *Snapshot) choose(list []*Entry, version *atomic.Uint64) {
	s.Use, s.weighing = usable(list), &weighing{version: version}
	left := s.Use // in the order of all
	for _, e := range s.All {
		used := len(left) > 0 && left[0] == e
		if used {
			left = left[1:]
		}
		switch h := e.Health; {
		case !e.available() || used:
		case h.State != health.Down:
			s.rest = append(s.rest, e)
		case !h.Until.IsZero():
			s.shut = append(s.shut, e)
		}
	}
	slices.SortStableFunc(s.rest, func(a, b *Entry) int { return cmp.Compare(a.Tier, b.Tier) })
	for _, e := range s.Use {
		s.trial = s.trial || e.Health.Trial
		s.forced = s.forced || e.drains()
	}
}

// onlyDrained is what is told when nobody serves but those that ask to be drained.
const onlyDrained = "only backends that ask to be drained are left: they are used all the same"

// usable returns who serves: of the first tier in which somebody may be alive
// those whom health finds usable, and if nobody is alive anywhere, the least
// hopeless. Those that a probe asks to drain are used where nobody else is
// alive: who is to be drained by an operator is not.
func usable(entries []*Entry) []*Entry {
	alive := slices.ContainsFunc(entries, func(e *Entry) bool { return e.available() && e.Health.State != health.Down })
	var ready []*Entry
	lowest, last := math.MaxInt, math.MaxInt // tiers; last is of those too that ask to be used last
	for _, e := range entries {
		if !e.available() && (alive || !e.drains()) {
			continue
		}
		ready = append(ready, e)
		if e.Health.State != health.Down {
			last = min(last, e.Tier)
			if !e.Health.Last {
				lowest = min(lowest, e.Tier)
			}
		}
	}
	if lowest == math.MaxInt {
		lowest = last
	}
	var of []*Entry
	var healths []tracker.Health
	for _, e := range ready {
		if lowest == math.MaxInt || e.Tier == lowest {
			of = append(of, e)
			healths = append(healths, e.Health)
		}
	}
	var use []*Entry
	for _, i := range tracker.Usable(nil, healths) {
		use = append(use, of[i])
	}
	return use
}
