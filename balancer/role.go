package balancer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/foretier/foretier/balancer/internal/election"
	"github.com/foretier/foretier/health"
)

// Roles is for a pool whose probe tells roles: which of the backends takes the
// writes.
//
// The pool uses one primary. Of two that claim to be it, the lower epoch
// loses; in one epoch the incumbent keeps the traffic, and the newcomer is
// fenced: it gets no connection, those it had are cut, and the log and the
// report say so, until it has been seen as a replica, has a higher epoch, or
// [Pool.SetPrimary] says otherwise. A backend that was away is asked again, and
// all others too, before it is the primary again; if another was made primary
// meanwhile, it is fenced, also if the other is away by then. One that answers
// and turns the probe away ([health.ErrTurnedAway]) is not away: it keeps its
// role and its connections, and others are elected without its word.
type Roles struct {
	// Memory is the file that remembers the incumbent and who is fenced, so
	// that a restart of this process does not forget. Its folder must be
	// writable. Empty: nothing is remembered, and as long as two claim to be
	// primary after a start, none is used.
	Memory string
}

// Primary is a filter for [Pool.Only]: the one backend that takes the writes.
func Primary(s Status) bool { return s.Primary }

// Replicas returns a filter for [Pool.Only]: the replicas that are at most
// maxLag behind, and peers that are not written to.
func Replicas(maxLag time.Duration) func(Status) bool {
	return func(s Status) bool {
		return s.Role == health.RoleReplica && s.Lag <= maxLag || s.Role == health.RolePeer && !s.Primary
	}
}

// roles is what a pool keeps of its backends' roles.
type roles struct {
	memory string
	active atomic.Bool // a probe has told a role
	vacant atomic.Bool // nobody is primary

	mu     sync.Mutex // serializes elections; comes before Pool.mu
	claims map[*member]*election.Claim
	throne election.Throne                           // guarded by mu, like claims
	ranks  atomic.Pointer[map[*member]election.Rank] // the outcome, never modified
}

// rank returns what the latest election made of m.
func (r *roles) rank(m *member) election.Rank {
	if ranks := r.ranks.Load(); ranks != nil {
		return (*ranks)[m]
	}
	return election.Rank{}
}

// probed takes what a probe that began at asked said of e's role, and reports
// whether something changed that picks depend on.
func (p *Pool) probed(e *entry, asked, now time.Time, res health.Result, err error) bool {
	r := &p.roles
	if !r.active.Load() && (err != nil || res.Role == "") {
		return false // most pools know no roles
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	c := p.claimLocked(e)
	was := *c
	if errors.Is(err, health.ErrTurnedAway) && !c.Asked.IsZero() {
		// It is there, and what it was still holds: no password and no full
		// house makes another of it.
		c.Mute = e.tracker.Verdict(now).Mute
		return p.electLocked(now, was.Mute != c.Mute)
	}
	if err != nil {
		hard := health.Unreachable(err) || errors.Is(err, syscall.ECONNRESET)
		// One slow answer takes no primary away: that is for the schedule to
		// say. Who has never answered is not waited for.
		if hard || e.tracker.Verdict(now).State == health.Down || c.Asked.IsZero() {
			c.Miss(asked)
		}
		c.Known = true
		return p.electLocked(now, was != *c)
	}
	switch res.Role {
	case "", health.RolePrimary, health.RoleReplica, health.RolePeer:
	default:
		if c.Role != "" || !c.Known {
			p.log.LogAttrs(context.Background(), slog.LevelError, "the probe tells a role that there is not: the backend has none",
				slog.String("backend", e.Name), slog.String("role", res.Role))
		}
		res.Role = ""
	}
	c.Answer(asked, res)
	r.active.Store(true)
	return p.electLocked(now, was.Role != c.Role || was.Away || was.Epoch != c.Epoch || was.Last != c.Last || !was.Known)
}

// missed takes note that e refused a connection: what it was must be
// confirmed before it gets another.
func (p *Pool) missed(e *entry, now time.Time) {
	p = p.root()
	r := &p.roles
	if !r.active.Load() {
		return
	}
	r.mu.Lock()
	c := p.claimLocked(e)
	was := c.Away
	c.Miss(now)
	changed := p.electLocked(now, !was)
	r.mu.Unlock()
	if changed {
		p.refresh(now)
	}
}

// doubt has e probed soon, because it ended a connection by itself: it may be
// about to die, and come back as another.
func (p *Pool) doubt(e *entry) {
	if p.root().roles.active.Load() {
		e.nudge()
	}
}

func (p *Pool) claimLocked(e *entry) *election.Claim {
	r := &p.roles
	if r.claims == nil {
		r.claims = make(map[*member]*election.Claim)
	}
	c := r.claims[e.member]
	if c == nil {
		c = &election.Claim{Name: e.Name}
		r.claims[e.member] = c
	}
	return c
}

// electLocked holds an election and reports whether its outcome is new. news
// says that a claim has changed, so that the others should be asked soon.
func (p *Pool) electLocked(now time.Time, news bool) bool {
	r := &p.roles
	all := p.snap.Load().all
	claims := make([]election.Claim, len(all))
	there := make(map[*member]bool, len(all))
	for i, e := range all {
		claims[i] = *p.claimLocked(e)
		there[e.member] = true
	}
	maps.DeleteFunc(r.claims, func(m *member, _ *election.Claim) bool { return !there[m] })

	old := r.throne
	next := old.Elect(claims)
	changed := !next.Equal(old)
	if changed {
		p.enthroneLocked(now, old, next)
	}
	for _, c := range r.claims {
		if next.Seated && c.Name == next.Primary {
			c.Left = time.Time{}
		}
	}
	r.vacant.Store(!next.Seated)
	ranks := make(map[*member]election.Rank, len(all))
	for i, e := range all {
		ranks[e.member] = next.Rank(claims[i])
	}
	if before := r.ranks.Swap(&ranks); before == nil || !maps.Equal(*before, ranks) {
		changed = true
	}
	if news {
		for _, e := range all {
			e.nudge()
		}
	}
	return changed
}

// enthroneLocked makes next the outcome: remembered before anybody acts on it.
func (p *Pool) enthroneLocked(now time.Time, old, next election.Throne) {
	r := &p.roles
	if !next.Remembers(old) {
		if err := next.Remember(r.memory); err != nil {
			p.log.LogAttrs(context.Background(), slog.LevelError, "cannot remember who is primary", slog.Any("error", err))
		}
	}
	r.throne = next
	p.mu.Lock()
	defer p.mu.Unlock()
	tell := func(level slog.Level, backend, text string) {
		p.eventLocked(now, backend, text)
		log := p.log
		if backend != "" {
			log = log.With("backend", backend)
		}
		log.Log(context.Background(), level, text)
	}
	for _, name := range slices.Sorted(maps.Keys(next.Fenced)) {
		if old.Fenced[name] != next.Fenced[name] {
			tell(slog.LevelError, name, "fenced: "+next.Fenced[name])
		}
	}
	for _, name := range slices.Sorted(maps.Keys(old.Fenced)) {
		if next.Fenced[name] == "" {
			tell(slog.LevelInfo, name, "no longer fenced")
		}
	}
	switch {
	case next.Seated && (!old.Seated || old.Primary != next.Primary):
		level, text := slog.LevelInfo, "is primary"
		if old.Primary != "" && old.Primary != next.Primary {
			level, text = slog.LevelWarn, "is primary in the place of "+old.Primary
		}
		tell(level, next.Primary, text)
	case !next.Seated && next.Why != old.Why:
		level := slog.LevelInfo // as at each start
		if next.Torn {
			level = slog.LevelError
		} else if old.Seated {
			level = slog.LevelWarn
		}
		tell(level, next.Primary, next.Why)
	}
}

// SetPrimary makes the named backend the incumbent, as an operator may decide
// when several claim to be primary: if it is fenced, it no longer is, and the
// others that claim to be primary are. It returns [ErrUnknown] if there is no
// such backend, and an error if it does not claim to be primary.
func (p *Pool) SetPrimary(name string) error {
	p = p.root()
	now := time.Now()
	r := &p.roles
	r.mu.Lock()
	err := func() error {
		e := p.snap.Load().byName[name]
		if e == nil {
			return fmt.Errorf("%w: %q in pool %s", ErrUnknown, name, p.opts.Name)
		}
		c := p.claimLocked(e)
		if !c.Claims() {
			return fmt.Errorf("balancer: %s does not say that it is primary: make it so first", name)
		}
		c.Left = time.Time{}
		t := election.Throne{Primary: r.throne.Primary, Fenced: make(map[string]string), Deposed: maps.Clone(r.throne.Deposed)}
		maps.Copy(t.Fenced, r.throne.Fenced)
		var claims []election.Claim
		for _, o := range r.claims {
			claims = append(claims, *o)
			if o.Name != name && o.Claims() && o.Role == health.RolePrimary {
				t.Fenced[o.Name] = "claims to be primary, and " + name + " was made so by hand"
			}
		}
		delete(t.Fenced, name)
		t.Enthrone(*c, claims)
		p.enthroneLocked(now, r.throne, t)
		p.electLocked(now, true)
		return nil
	}()
	r.mu.Unlock()
	if err == nil {
		p.refresh(now)
	}
	return err
}

// reportRole adds what the role means to a backend's report.
func (e *entry) reportRole(r *health.Report, s Status) {
	what := s.Role
	if s.Primary && s.Role == health.RolePeer {
		what = "peer, which takes the writes"
	}
	if s.Barred != "" {
		r.State = max(r.State, health.Degraded)
		what = s.Barred
	}
	r.Why = strings.TrimSuffix(what+"; "+r.Why, "; ")
	primary := 0.0
	if s.Primary {
		primary = 1
	}
	r.Metrics = append(r.Metrics,
		health.Level("primary", "1 for the backend that takes the writes.", "", primary),
		health.Level("lag", "How far a replica is behind.", "seconds", s.Lag.Seconds()))
	r.Verbs = append(r.Verbs, health.RolePrimary)
}

func (p *Pool) refresh(now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refreshLocked(now)
}

// nudge has the backend probed soon, if it is probed at all.
func (m *member) nudge() {
	select {
	case m.nudged <- struct{}{}:
	default: // it will be
	}
}
