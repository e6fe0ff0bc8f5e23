package pool

import (
	"math/rand/v2"
	"time"

	"github.com/foretier/foretier/balancer/internal/tracker"
	"github.com/foretier/foretier/health"
)

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
	s.mu.Lock()
	defer s.mu.Unlock()
	if eject && s.mayEjectLocked(e, now, r) {
		e.Tracker.Eject(now, rand.Float64())
	}
	if eject || !s.answeredLocked(e, now) {
		s.refreshLocked(now)
	}
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
		if other.Health.State == health.Degraded && !other.Health.Until.IsZero() {
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

// Avoid has picks prefer others to e, until the time given.
func (s *Set) Avoid(e *Entry, until time.Time) {
	e.Member.avoid.Store(until.UnixNano())
	s.avoided.Store(true)
}

// Spare has e get a tenth of its share until the time given: it asks for patience.
func (s *Set) Spare(e *Entry, now, until time.Time) {
	if e.spare.Swap(until.UnixNano()) <= now.UnixNano() {
		s.weights.Add(1) // the next pick looks at them anew
	}
}

// clearlyBetter is by how much the others' share of answers must be higher.
const clearlyBetter = 0.25

// Blamed reports whether what failed of late at e is of several clients.
func (s *Set) Blamed(e *Entry, now time.Time) bool { return s.several(&e.blame, now) }

// Begged notes that e has answered by a wish for patience, and reports whether it
// has to several clients of late.
func (s *Set) Begged(e *Entry, now time.Time, w Witness) bool {
	e.begged.add(w)
	return s.several(&e.begged, now)
}

func (s *Set) several(b *blame, now time.Time) bool {
	clients, _, _ := b.weigh(now.Add(-s.Opts.Outlier.Window))
	return clients
}
