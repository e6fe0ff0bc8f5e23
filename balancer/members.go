package balancer

import (
	"cmp"
	"context"
	"log/slog"
	"math"
	"net/http"
	"net/url"
	"slices"
	"sync/atomic"
	"time"

	"github.com/foretier/foretier/balancer/internal/election"
	"github.com/foretier/foretier/balancer/internal/load"
	"github.com/foretier/foretier/health"
)

// A member is what a pool keeps of a backend for as long as it has one of that
// name, whatever its weight, tier and labels become.
type member struct {
	hash      uint64 // of the name
	load      *load.Load
	tracker   *health.Tracker
	blame     blame
	begged    blame // those whom it asked for patience
	transport http.RoundTripper
	target    health.Target

	mode       atomic.Uint32 // a Mode
	risen      atomic.Int64  // when it last came back, in ns; 0: never was away
	reported   atomic.Uint64 // float64 bits: the share that a probe brought
	reportedAt atomic.Int64  // when, in ns; 0: never
	spare      atomic.Int64  // until when it asks for patience, in ns
	leaving    atomic.Bool   // a probe said that it wants to be drained
	drained    atomic.Int64  // when Drain ends for those bound to it, in ns
	requests   atomic.Uint64
	failures   atomic.Uint64
	avoid      atomic.Int64  // until when connections go elsewhere, in ns: see link.hungUp
	shed       atomic.Int32  // connections in a row that it ended at once
	nudged     chan struct{} // room for one: it should be probed soon
}

// drainFor is how long a backend that drains goes on to serve those who are
// bound to it.
const drainFor = 10 * time.Minute

// leaves reports whether e would be available if its probe did not ask to drain
// it.
func (e *entry) leaves() bool {
	return Mode(e.mode.Load()) == Ready && e.leaving.Load() && e.rank.Barred == ""
}

// wanted returns the mode that the operator or the backend itself asks for.
func (m *member) wanted() Mode {
	if mode := Mode(m.mode.Load()); mode != Ready || !m.leaving.Load() {
		return mode
	}
	return Drain
}

// heard takes what a probe brought besides a state, and reports whether that
// changes who serves.
func (m *member) heard(now time.Time, res health.Result) bool {
	if res.Weight > 0 {
		m.reported.Store(math.Float64bits(min(res.Weight, 10)))
		m.reportedAt.Store(now.UnixNano())
	}
	if m.leaving.Swap(res.Drain) == res.Drain {
		return false
	}
	if res.Drain {
		m.drained.Store(now.Add(drainFor).UnixNano())
	}
	return true
}

// An entry is a member as one snapshot configures it.
type entry struct {
	Backend
	*member
	url     *url.URL
	base    string         // the URL's path, escaped
	verdict health.Verdict // when the snapshot was made
	rank    election.Rank  // likewise
}

// A snapshot is what picks read. It is never modified.
type snapshot struct {
	all    []*entry          // in the order given
	others []*entry          // of an excerpt: the rest of the whole
	kept   []*entry          // of these, those that keep their connections
	byName map[string]*entry //
	use    []*entry          // for requests that are bound to none
	rest   []*entry          // alive and not in use: where a request goes that use has failed
	shut   []*entry          // have refused connections lately, and no probe says more: they may be back
	trial  bool              // one of use is on trial
	forced bool              // those serve that ask to be drained
	until  int64             // when it must be made anew, in ns
}

// current returns the snapshot that holds at now.
func (p *Pool) current(now time.Time) *snapshot {
	snap := p.snap.Load()
	if now.UnixNano() < snap.until {
		return snap
	}
	p.root().refresh(now)
	return p.snap.Load()
}

// refreshLocked makes the snapshot anew from the members' states.
func (p *Pool) refreshLocked(now time.Time) {
	old := p.snap.Load()
	entries := make([]*entry, len(old.all))
	for i, e := range old.all {
		entries[i] = &entry{Backend: e.Backend, member: e.member, url: e.url, base: e.base}
	}
	p.publishLocked(entries, now)
}

// publishLocked judges the entries and swaps them in.
func (p *Pool) publishLocked(entries []*entry, now time.Time) {
	snap := &snapshot{all: entries, byName: make(map[string]*entry, len(entries)), until: math.MaxInt64}
	for _, e := range entries {
		e.verdict = e.tracker.Verdict(now)
		if v := e.verdict; e.carries() && p.opts.Probe != nil && v.State == health.Up && !v.Trial {
			p.proven = true
		}
	}
	for _, e := range entries {
		p.believeLocked(e)
		e.rank = p.roles.rank(e.member)
		if !e.verdict.Risen.IsZero() {
			e.risen.Store(e.verdict.Risen.UnixNano())
		}
		if u := e.verdict.Until; !u.IsZero() {
			snap.until = min(snap.until, u.UnixNano())
		}
		snap.byName[e.Name] = e
	}
	snap.choose(entries)
	old := p.snap.Swap(snap)
	p.recordLocked(old, snap, now)
	if snap.forced && !old.forced {
		p.eventLocked(now, "", allLeave)
		p.log.LogAttrs(context.Background(), slog.LevelError, allLeave)
	}
	for _, e := range entries {
		if was := old.byName[e.Name]; was != nil && was.member == e.member && e.verdict.State == health.Down && was.verdict.State != health.Down {
			p.rescueLocked(e, snap)
		}
	}
	p.carried.cutLeaving(snap)
	for _, excerpt := range p.excerpts {
		excerpt.narrowLocked(snap, now)
	}
	close(p.changed)
	p.changed = make(chan struct{})
}

// believeLocked takes e for down if its probe has never succeeded, and that of
// another backend for connections has: the check is there, and it says no, as
// Patroni's does on all but one. Of requests it may be a file that is missing,
// and answers tell more.
func (p *Pool) believeLocked(e *entry) {
	if v := &e.verdict; p.proven && v.Fails && e.carries() {
		v.State, v.Await = health.Down, false
		v.Why = "fails its probes, which others pass: " + v.Why
	}
}

// carries reports whether e is for connections.
func (e *entry) carries() bool {
	return e.Handler == nil && (e.url.Scheme == "tcp" || e.url.Scheme == "tls")
}

// choose says who of list serves, and who of all is left beside them.
func (s *snapshot) choose(list []*entry) {
	s.use = usable(list)
	for _, e := range s.all {
		switch v := e.verdict; {
		case !e.available() || slices.Contains(s.use, e):
		case v.State != health.Down:
			s.rest = append(s.rest, e)
		case !v.Until.IsZero():
			s.shut = append(s.shut, e)
		}
	}
	slices.SortStableFunc(s.rest, func(a, b *entry) int { return cmp.Compare(a.Tier, b.Tier) })
	for _, e := range s.use {
		s.trial = s.trial || e.verdict.Trial
		s.forced = s.forced || e.leaves()
	}
}

// allLeave is what is told when nobody but them is left.
const allLeave = "only backends that ask to be drained are left: they are used all the same"

// usable returns who serves: of the first tier in which somebody may be alive
// those whom health finds usable, and if nobody is alive anywhere, the least
// hopeless. Those that a probe asks to drain are used where nobody else is
// alive: who is to be drained by an operator is not.
func usable(entries []*entry) []*entry {
	alive := slices.ContainsFunc(entries, func(e *entry) bool { return e.available() && e.verdict.State != health.Down })
	var ready []*entry
	lowest, last := math.MaxInt, math.MaxInt // tiers; last is of those too that ask to be used last
	for _, e := range entries {
		if !e.available() && (alive || !e.leaves()) {
			continue
		}
		ready = append(ready, e)
		if e.verdict.State != health.Down {
			last = min(last, e.Tier)
			if !e.verdict.Last {
				lowest = min(lowest, e.Tier)
			}
		}
	}
	if lowest == math.MaxInt {
		lowest = last
	}
	var of []*entry
	var verdicts []health.Verdict
	for _, e := range ready {
		if lowest == math.MaxInt || e.Tier == lowest {
			of = append(of, e)
			verdicts = append(verdicts, e.verdict)
		}
	}
	var use []*entry
	for _, i := range health.Usable(nil, verdicts) {
		use = append(use, of[i])
	}
	return use
}
