package balancer

import (
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
	started time.Time

	known bool      // it has answered, or is known not to
	away  bool      // it does not answer; what it was is above
	asked time.Time // when the latest probe that it answered was begun
	since time.Time // from when on it has claimed what it claims, without a break
	left  time.Time // from when on it may have been away, since it was confirmed as primary; zero: it was not
}

// claims reports whether c could take writes.
func (c claim) claims() bool {
	return c.known && !c.away && (c.role == health.RolePrimary || c.role == health.RolePeer)
}

// elect returns who is the primary, given what the backends claim.
//
//   - The lower epoch loses, even alone.
//   - Of two in one epoch the incumbent keeps the traffic, unless the other
//     became primary while the incumbent was away: then somebody has promoted
//     it for that reason.
//   - Who loses is fenced until it gives up its claim, or has a higher epoch:
//     when the incumbent dies, one that missed its updates must not follow it.
//     A fence that turns out to have been put up while the incumbent was away
//     unnoticed falls too.
//   - Nobody is elected before all others have been asked since the claim
//     began, or are known to be away.
//   - Without an incumbent two claims mean none, unless they are peers.
func (t throne) elect(claims []claim) throne {
	next := throne{Primary: t.Primary, Epoch: t.Epoch, Fenced: make(map[string]string), from: make(map[string]time.Time)}
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
		switch {
		case fenced && c.known && !c.away && !c.claims(): // it has given up
		case fenced && !(c.claims() && c.epoch > t.Epoch) && !(c.claims() && ours && !left.IsZero() && !from.Before(left)):
			next.Fenced[c.name], next.from[c.name] = why, from
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
		if o.name != c.name && (!o.known || !o.away && o.asked.Before(c.since)) {
			next.why = fmt.Sprintf("%s claims to be primary, and %s has yet to say what it is", c.name, o.name)
			return next
		}
	}
	next.Primary, next.Epoch, next.seated = c.name, c.epoch, true
	return next
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
	return t.Primary == o.Primary && t.Epoch == o.Epoch && t.seated == o.seated && t.why == o.why && maps.Equal(t.Fenced, o.Fenced)
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
