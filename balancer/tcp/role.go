package tcp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/foretier/foretier/balancer/internal/election"
	"github.com/foretier/foretier/balancer/internal/pool"
	"github.com/foretier/foretier/health"
)

// Primary is a filter for [Pool.Only]: the one backend that takes the writes.
func Primary(s Status) bool { return s.Primary }

// Replicas returns a filter for [Pool.Only]: the replicas that are at most
// maxLag behind, and peers that are not written to.
func Replicas(maxLag time.Duration) func(Status) bool {
	return func(s Status) bool {
		return s.Role == health.RoleReplica && s.Lag <= maxLag || s.Role == health.RolePeer && !s.Primary
	}
}

// roles is what a pool keeps of its backends' roles. It says which of them may
// take connections: it is the set's [pool.Judge].
type roles struct {
	set    *pool.Set
	log    *slog.Logger
	memory string
	active atomic.Bool // a probe has told a role
	vacant atomic.Bool // nobody is primary

	telling sync.Mutex // serializes lines of the log; comes before mu

	mu     sync.Mutex // serializes elections; comes before the set's
	claims map[*pool.Member]*election.Claim
	throne election.Throne                                // guarded by mu, like claims
	untold []func()                                       // guarded by mu: lines for the log
	ranks  atomic.Pointer[map[*pool.Member]election.Rank] // the outcome, never modified
}

// Standing returns what the latest election made of m.
func (r *roles) Standing(m *pool.Member) pool.Standing {
	ranks := r.ranks.Load()
	if ranks == nil {
		return pool.Standing{}
	}
	rank := (*ranks)[m]
	return pool.Standing{Barred: rank.Barred, Own: rank}
}

// rankOf returns what the election had made of e when its snapshot was made.
func rankOf(e *pool.Entry) election.Rank {
	rank, _ := e.Standing.Own.(election.Rank)
	return rank
}

// Vacant reports whether nobody is primary, so that probes should be many.
func (r *roles) Vacant() bool { return r.vacant.Load() }

// Probed takes what a probe that began at asked said of e's role, and reports
// whether something changed that picks depend on.
func (r *roles) Probed(e *pool.Entry, asked, now time.Time, res health.Result, err error) bool {
	if !r.active.Load() && (err != nil || res.Role == "") {
		return false // most pools know no roles
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	c := r.claimLocked(e)
	if err != nil {
		return r.unansweredLocked(e, c, asked, now, err)
	}
	was := *c
	if !isRole(res.Role) {
		if c.Role != "" || !c.Known {
			r.tellLocked(slog.LevelError, "the probe tells a role that there is not: the backend has none",
				slog.String("backend", e.Name), slog.String("role", res.Role))
		}
		res.Role = ""
	}
	c.Answer(asked, res)
	r.active.Store(true)
	return r.electLocked(now, was.Role != c.Role || was.Away || was.Epoch != c.Epoch || was.Last != c.Last || !was.Known)
}

// unansweredLocked takes the failure of a probe of e, whose claim is c, as Probed
// does.
func (r *roles) unansweredLocked(e *pool.Entry, c *election.Claim, asked, now time.Time, err error) bool {
	was := *c
	if errors.Is(err, health.ErrTurnedAway) && !c.Asked.IsZero() {
		// It is there, and what it was still holds: no password and no full
		// house makes another of it.
		c.Mute = e.Tracker.Health(now).Mute
		return r.electLocked(now, was.Mute != c.Mute)
	}
	hard := health.Unreachable(err) || errors.Is(err, syscall.ECONNRESET)
	// One slow answer takes no primary away: that is for the schedule to
	// say. Who has never answered is not waited for.
	if hard || e.Tracker.Health(now).State == health.Down || c.Asked.IsZero() {
		c.Miss(asked)
	}
	c.Known = true
	return r.electLocked(now, was != *c)
}

// isRole reports whether there is such a role.
func isRole(s string) bool {
	switch s {
	case "", health.RolePrimary, health.RoleReplica, health.RolePeer:
		return true
	}
	return false
}

// missed takes note that e refused a connection: what it was must be
// confirmed before it gets another.
func (r *roles) missed(e *pool.Entry, now time.Time) {
	if !r.active.Load() {
		return
	}
	r.mu.Lock()
	c := r.claimLocked(e)
	was := c.Away
	c.Miss(now)
	changed := r.electLocked(now, !was)
	r.mu.Unlock()
	if changed {
		r.set.Refresh(now)
	}
	r.Tell()
}

// doubt has e probed soon, because it ended a connection by itself: it may be
// about to die, and come back as another.
func (r *roles) doubt(e *pool.Entry) {
	if r.active.Load() {
		e.Nudge()
	}
}

func (r *roles) claimLocked(e *pool.Entry) *election.Claim {
	if r.claims == nil {
		r.claims = make(map[*pool.Member]*election.Claim)
	}
	c := r.claims[e.Member]
	if c == nil {
		c = &election.Claim{Name: e.Name}
		r.claims[e.Member] = c
	}
	return c
}

// electLocked holds an election and reports whether its outcome is new. news
// says that a claim has changed, so that the others should be asked soon.
func (r *roles) electLocked(now time.Time, news bool) bool {
	all := r.set.Whole.Snap.Load().All
	claims := make([]election.Claim, len(all))
	there := make(map[*pool.Member]bool, len(all))
	for i, e := range all {
		claims[i] = *r.claimLocked(e)
		there[e.Member] = true
	}
	maps.DeleteFunc(r.claims, func(m *pool.Member, _ *election.Claim) bool { return !there[m] })

	old := r.throne
	next := old.Elect(claims)
	changed := !next.Equal(old)
	if changed {
		r.enthroneLocked(now, old, next)
	}
	for _, c := range r.claims {
		if next.Seated && c.Name == next.Primary {
			c.Left = time.Time{}
		}
	}
	r.vacant.Store(!next.Seated)
	ranks := make(map[*pool.Member]election.Rank, len(all))
	for i, e := range all {
		ranks[e.Member] = next.Rank(claims[i])
	}
	if before := r.ranks.Swap(&ranks); before == nil || !maps.Equal(*before, ranks) {
		changed = true
	}
	if news {
		for _, e := range all {
			e.Nudge()
		}
	}
	return changed
}

// enthroneLocked makes next the outcome: remembered before anybody acts on it.
func (r *roles) enthroneLocked(now time.Time, old, next election.Throne) {
	if !next.Remembers(old) {
		if err := next.Remember(r.memory); err != nil {
			r.tellLocked(slog.LevelError, "cannot remember who is primary", slog.Any("error", err))
		}
	}
	r.throne = next
	r.fencesLocked(now, old, next)
	switch {
	case next.Seated && (!old.Seated || old.Primary != next.Primary):
		level, text := slog.LevelInfo, "is primary"
		if old.Primary != "" && old.Primary != next.Primary {
			level, text = slog.LevelWarn, "is primary in the place of "+old.Primary
		}
		r.happenedLocked(now, level, next.Primary, text)
	case !next.Seated && next.Why != old.Why:
		level := slog.LevelInfo // as at each start
		if next.Torn {
			level = slog.LevelError
		} else if old.Seated {
			level = slog.LevelWarn
		}
		r.happenedLocked(now, level, next.Primary, next.Why)
	}
}

// happenedLocked remembers what has happened to a backend, or, without one, to
// all, and will tell it.
func (r *roles) happenedLocked(now time.Time, level slog.Level, backend, text string) {
	r.set.Note(now, backend, text)
	if backend == "" {
		r.tellLocked(level, text)
		return
	}
	r.tellLocked(level, text, slog.String("backend", backend))
}

// tellLocked keeps a line for Tell.
func (r *roles) tellLocked(level slog.Level, text string, attrs ...slog.Attr) {
	r.untold = append(r.untold, func() { r.log.LogAttrs(context.Background(), level, text, attrs...) })
}

// Tell serves [pool.Judge].
func (r *roles) Tell() {
	r.telling.Lock()
	defer r.telling.Unlock()
	r.mu.Lock()
	lines := r.untold
	r.untold = nil
	r.mu.Unlock()
	for _, line := range lines {
		line()
	}
}

// fencesLocked tells who is fenced now, and who no longer is.
func (r *roles) fencesLocked(now time.Time, old, next election.Throne) {
	for _, name := range slices.Sorted(maps.Keys(next.Fenced)) {
		if old.Fenced[name] != next.Fenced[name] {
			r.happenedLocked(now, slog.LevelError, name, "fenced: "+next.Fenced[name])
		}
	}
	for _, name := range slices.Sorted(maps.Keys(old.Fenced)) {
		if next.Fenced[name] == "" {
			r.happenedLocked(now, slog.LevelInfo, name, "no longer fenced")
		}
	}
}

// reportRole adds what the role means to a backend's report.
func reportRole(e *pool.Entry, r *health.Report) {
	rank := rankOf(e)
	if rank.Role == "" {
		return
	}
	what := rank.Role
	if rank.Primary && rank.Role == health.RolePeer {
		what = "peer, which takes the writes"
	}
	if rank.Barred != "" {
		r.State = max(r.State, health.Degraded)
		what = rank.Barred
	}
	r.Why = strings.TrimSuffix(what+"; "+r.Why, "; ")
	primary := 0.0
	if rank.Primary {
		primary = 1
	}
	r.Metrics = append(r.Metrics,
		health.Level("primary", "Primary: 1 for the backend that gets the writes, 0 for another.", "", primary),
		health.Level("lag_seconds", "Lag of a replica behind its primary.", "seconds", rank.Lag.Seconds()))
	r.Verbs = append(r.Verbs, health.RolePrimary)
}

// none returns why nobody serves.
func none(s *pool.Snapshot) error {
	var why []string
	for _, e := range slices.Concat(s.All, s.Others) {
		rank := rankOf(e)
		if rank.Barred != "" {
			why = append(why, e.Name+" "+rank.Barred)
		} else if rank.Role != "" {
			what := e.Name + " is a " + rank.Role
			if rank.Lag > 0 && rank.Lag < math.MaxInt64 {
				what += fmt.Sprintf(", %v behind", rank.Lag.Round(time.Millisecond))
			} else if rank.Lag > 0 {
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
