package balancer

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/foretier/foretier/health"
)

// A throne is who is the primary of a pool, and who claims to be and must not.
// It is never modified.
type throne struct {
	Primary string            `json:"primary"` // the incumbent, present or not; empty: none yet
	Epoch   uint64            `json:"epoch"`   // its
	Fenced  map[string]string `json:"fenced"`  // backend: why it is not used, whatever it claims
	// Deposed are those that were primary before this one, and have not been
	// seen without that claim since: they have missed its writes.
	Deposed map[string]bool `json:"deposed,omitempty"`

	from   map[string]time.Time // when those fenced by this process began their claims
	seated bool                 // the incumbent is there and confirmed
	why    string               // why nobody is, in words
	torn   bool                 // several claim to be it
}

// A claim is what a pool knows of a backend's role.
type claim struct {
	name    string
	role    string
	epoch   uint64
	lag     time.Duration
	last    bool // its health.Result.LastResort
	started time.Time
	process string // its health.Result.Instance

	known bool      // it has answered, or is known not to
	mute  bool      // it turns probes away: what it was still holds, and others do not wait for its word
	away  bool      // it does not answer; what it was is above
	asked time.Time // when the latest probe that it answered was begun
	since time.Time // from when on it has claimed what it claims, without a break
	left  time.Time // from when on it may have been away, since it was confirmed as primary; zero: it was not
}

// answer takes what a probe that began at asked was told.
func (c *claim) answer(asked time.Time, res health.Result) {
	if c.restarted(res) || c.known && c.role == health.RolePrimary && res.Role != c.role {
		c.miss(asked)
	}
	if c.away || c.role != res.Role {
		c.since = asked
	}
	c.known, c.away, c.mute, c.asked = true, false, false, asked
	c.role, c.epoch, c.lag, c.last = res.Role, res.Epoch, res.Lag, res.LastResort
	if !res.Started.IsZero() {
		c.started = res.Started // each time: two clocks drift apart, and that is no restart
	}
	c.process = cmp.Or(res.Instance, c.process)
}

// restarted reports whether it is another process that has answered now.
func (c *claim) restarted(res health.Result) bool {
	if c.process != "" && res.Instance != "" {
		return c.process != res.Instance
	}
	return !c.started.IsZero() && res.Started.Sub(c.started) > 2*time.Second
}

// miss says that at now the backend is not there, or no longer what it was: it
// may have been so since it answered last.
func (c *claim) miss(now time.Time) {
	c.away, c.known = true, true
	switch {
	case !c.left.IsZero():
	case c.asked.IsZero(): // it has never answered
		c.left = now
	default:
		c.left = c.asked
	}
}

// claims reports whether c could take writes.
func (c claim) claims() bool {
	return c.known && !c.away && (c.role == health.RolePrimary || c.role == health.RolePeer)
}

// follows reports whether c says that it is a replica. An answer without a role
// does not: a server that loads its data has not given up anything.
func (c claim) follows() bool { return c.known && !c.away && c.role == health.RoleReplica }

// elect returns who is the primary, given what the backends claim.
//
//   - The lower epoch loses, even alone.
//   - Of two in one epoch the incumbent keeps the traffic, unless the other
//     became primary while the incumbent was away: then somebody has promoted
//     it for that reason.
//   - Who loses is fenced until it gives up its claim, or has a higher epoch:
//     when the incumbent dies, one that missed its updates must not follow it.
//     A fence that turns out to have been put up while the incumbent was away
//     or had given up, unnoticed, falls too.
//   - Whose place another has taken is treated as one who lost, from when it is
//     seen again: also if the other is away by then.
//   - Nobody is elected before all others have been asked since the claim
//     began, or are known to be away or to turn probes away.
//   - Without an incumbent two claims mean none, unless they are peers.
//   - A peer that asks to be used last is primary only among such.
func (t throne) elect(claims []claim) throne {
	next := throne{
		Primary: t.Primary, Epoch: t.Epoch,
		Fenced: make(map[string]string), Deposed: maps.Clone(t.Deposed), from: make(map[string]time.Time),
	}
	var left time.Time // the incumbent's
	if i := slices.IndexFunc(claims, func(c claim) bool { return c.name == t.Primary }); i >= 0 {
		left = claims[i].left
	}
	var candidates []claim
	top := t.Epoch
	known := make(map[string]bool)
	for _, c := range claims {
		known[c.name] = true
		why, fenced := t.Fenced[c.name]
		from, ours := t.from[c.name]
		if c.follows() { // it has given up
			delete(next.Deposed, c.name)
			continue
		}
		switch {
		case fenced && !(c.claims() && c.epoch > t.Epoch) && !(c.claims() && ours && !left.IsZero() && !from.Before(left)):
			next.Fenced[c.name], next.from[c.name] = why, from
		case c.claims() && c.role == health.RolePrimary && t.Deposed[c.name] && c.epoch <= t.Epoch:
			next.Fenced[c.name] = fmt.Sprintf("claims to be primary beside %s, which has taken its place", t.Primary)
		case c.claims():
			candidates = append(candidates, c)
			top = max(top, c.epoch)
		}
	}
	for name, why := range t.Fenced {
		if !known[name] {
			next.Fenced[name] = why // it may come back
		}
	}
	fence := func(why string, which func(claim) bool) {
		candidates = slices.DeleteFunc(candidates, func(c claim) bool {
			if !which(c) {
				return false
			}
			if c.role == health.RolePrimary {
				next.Fenced[c.name], next.from[c.name] = why, c.since
			}
			return true
		})
	}
	fence(fmt.Sprintf("claims to be primary in an epoch before %d", top), func(c claim) bool { return c.epoch < top })

	wellPeer := func(c claim) bool { return c.role == health.RolePeer && !c.last }
	if slices.ContainsFunc(candidates, wellPeer) {
		candidates = slices.DeleteFunc(candidates, func(c claim) bool { return c.role == health.RolePeer && c.last })
	}

	if i := slices.IndexFunc(candidates, func(c claim) bool { return c.name == t.Primary }); i >= 0 {
		own := candidates[i]
		away := !own.left.IsZero()
		follower := func(c claim) bool {
			return away && c.name != own.name && c.role == health.RolePrimary && !c.since.Before(own.left)
		}
		if slices.ContainsFunc(candidates, follower) {
			fence("claims to be primary, and another was made so while it was away", func(c claim) bool { return c.name == own.name })
		} else {
			fence(fmt.Sprintf("claims to be primary beside %s, which has been it for longer", own.name),
				func(c claim) bool { return c.name != own.name })
			if !away {
				next.Epoch, next.seated = own.epoch, true
				return next
			}
		}
	}
	switch {
	case len(candidates) == 0:
		next.why = "no backend is primary"
		return next
	case len(candidates) > 1 && slices.ContainsFunc(candidates, func(c claim) bool { return c.role == health.RolePrimary }):
		next.torn = true
		next.why = "none is used, because several claim to be primary: " + strings.Join(names(candidates), ", ")
		return next
	}
	c := candidates[0]
	for _, o := range claims {
		if o.name != c.name && (!o.known || !o.away && !o.mute && o.asked.Before(c.since)) {
			next.why = fmt.Sprintf("%s claims to be primary, and %s has yet to say what it is", c.name, o.name)
			return next
		}
	}
	next.enthrone(c, claims)
	return next
}

// enthrone makes c the primary, and takes note of whose place it takes.
func (t *throne) enthrone(c claim, claims []claim) {
	if t.Deposed == nil {
		t.Deposed = make(map[string]bool)
	}
	before := slices.IndexFunc(claims, func(o claim) bool { return o.name == t.Primary })
	if t.Primary != "" && c.role == health.RolePrimary && (before < 0 || !claims[before].follows()) {
		t.Deposed[t.Primary] = true
	}
	delete(t.Deposed, c.name)
	t.Primary, t.Epoch, t.seated = c.name, c.epoch, true
}

func names(claims []claim) []string {
	out := make([]string, len(claims))
	for i, c := range claims {
		out[i] = c.name
	}
	return out
}

// equal reports whether nothing that matters differs.
func (t throne) equal(o throne) bool {
	return t.seated == o.seated && t.why == o.why && t.remembers(o)
}

// remembers reports whether a memory of t and one of o are the same.
func (t throne) remembers(o throne) bool {
	return t.Primary == o.Primary && t.Epoch == o.Epoch && maps.Equal(t.Fenced, o.Fenced) && maps.Equal(t.Deposed, o.Deposed)
}

// A rank is what an election makes of a backend, for those who pick.
type rank struct {
	role    string
	epoch   uint64
	lag     time.Duration
	primary bool   // it is the incumbent, and nobody has taken its place
	barred  string // why it gets no new connections; empty: it may
	fenced  bool   // nor keeps those it has
}

// rank says what the election made of c.
func (t throne) rank(c claim) rank {
	r := rank{role: c.role, epoch: c.epoch, lag: c.lag}
	why, fenced := t.Fenced[c.name]
	switch {
	case fenced:
		r.fenced, r.barred = true, "fenced: "+why
	case c.name == t.Primary && (t.seated || c.away):
		r.primary = true
		if !t.seated {
			r.barred = "was primary, which is to be confirmed"
		}
	case c.role == health.RolePrimary:
		r.barred = "claims to be primary, which is to be confirmed"
	}
	return r
}
