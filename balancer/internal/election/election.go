// Package election decides which of a pool's backends takes the writes, given what
// each claims, and remembers it. It knows no pool.
package election

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/foretier/foretier/health"
)

// A Throne is who is the primary of a pool, and who claims to be and must not.
// It is never modified.
type Throne struct {
	Primary string            `json:"primary"` // the incumbent, present or not; empty: none yet
	Epoch   uint64            `json:"epoch"`   // its
	Fenced  map[string]string `json:"fenced"`  // backend: why it is not used, whatever it claims
	// Deposed are those that were primary before this one, and have not been
	// seen without that claim since: they have missed its writes.
	Deposed map[string]bool `json:"deposed,omitempty"`

	// What is not remembered:
	Seated bool                 `json:"-"` // the incumbent is there and confirmed
	Why    string               `json:"-"` // why nobody is, in words
	Torn   bool                 `json:"-"` // several claim to be it
	from   map[string]time.Time // when those fenced by this process began their claims
}

// A Claim is what a pool knows of a backend's role.
type Claim struct {
	Name    string
	Role    string
	Epoch   uint64
	Lag     time.Duration
	Last    bool // its health.Result.LastResort
	Started time.Time
	process string // its health.Result.Instance

	Known bool      // it has answered, or is known not to
	Mute  bool      // it turns probes away: what it was still holds, and others do not wait for its word
	Away  bool      // it does not answer; what it was is above
	Asked time.Time // when the latest probe that it answered was begun
	since time.Time // from when on it has claimed what it claims, without a break
	Left  time.Time // from when on it may have been away, since it was confirmed as primary; zero: it was not
}

// Answer takes what a probe that began at asked was told.
func (c *Claim) Answer(asked time.Time, res health.Result) {
	if c.restarted(res) || c.Known && c.Role == health.RolePrimary && res.Role != c.Role {
		c.Miss(asked)
	}
	if c.Away || c.Role != res.Role {
		c.since = asked
	}
	c.Known, c.Away, c.Mute, c.Asked = true, false, false, asked
	c.Role, c.Epoch, c.Lag, c.Last = res.Role, res.Epoch, res.Lag, res.LastResort
	if !res.Started.IsZero() {
		c.Started = res.Started // each time: two clocks drift apart, and that is no restart
	}
	c.process = cmp.Or(res.Instance, c.process)
}

// restarted reports whether it is another process that has answered now.
func (c *Claim) restarted(res health.Result) bool {
	if c.process != "" && res.Instance != "" {
		return c.process != res.Instance
	}
	return !c.Started.IsZero() && res.Started.Sub(c.Started) > 2*time.Second
}

// Miss says that at now the backend is not there, or no longer what it was: it
// may have been so since it answered last.
func (c *Claim) Miss(now time.Time) {
	c.Away, c.Known = true, true
	switch {
	case !c.Left.IsZero():
	case c.Asked.IsZero(): // it has never answered
		c.Left = now
	default:
		c.Left = c.Asked
	}
}

// Claims reports whether c could take writes.
func (c Claim) Claims() bool {
	return c.Known && !c.Away && (c.Role == health.RolePrimary || c.Role == health.RolePeer)
}

// follows reports whether c says that it is a replica. An answer without a role
// does not: a server that loads its data has not given up anything.
func (c Claim) follows() bool { return c.Known && !c.Away && c.Role == health.RoleReplica }

// Elect returns who is the primary, given what the backends claim.
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
func (t Throne) Elect(claims []Claim) Throne {
	b := ballot{old: t, claims: claims, next: Throne{
		Primary: t.Primary, Epoch: t.Epoch,
		Fenced: make(map[string]string), Deposed: maps.Clone(t.Deposed), from: make(map[string]time.Time),
	}}
	b.nominate()
	b.newestEpoch()
	b.wellPeers()
	if !b.incumbent() {
		b.successor()
	}
	return b.next
}

// A ballot is one election: from step to step fewer candidates are left.
type ballot struct {
	old, next  Throne
	claims     []Claim
	candidates []Claim
}

// nominate makes candidates of those who claim and are not fenced any more.
func (b *ballot) nominate() {
	known := make(map[string]bool)
	for _, c := range b.claims {
		known[c.Name] = true
		why, fenced := b.old.Fenced[c.Name]
		switch {
		case c.follows(): // it has given up
			delete(b.next.Deposed, c.Name)
		case fenced && !(c.Claims() && (c.Epoch > b.old.Epoch || b.inVain(c))):
			b.next.Fenced[c.Name], b.next.from[c.Name] = why, b.old.from[c.Name]
		case c.Claims() && c.Role == health.RolePrimary && b.old.Deposed[c.Name] && c.Epoch <= b.old.Epoch:
			b.next.Fenced[c.Name] = fmt.Sprintf("claims to be primary beside %s, which has taken its place", b.old.Primary)
		case c.Claims():
			b.candidates = append(b.candidates, c)
		}
	}
	for name, why := range b.old.Fenced {
		if !known[name] {
			b.next.Fenced[name] = why // it may come back
		}
	}
}

// inVain reports whether the fence around c was put up while the incumbent was away
// or had given up, unnoticed.
func (b *ballot) inVain(c Claim) bool {
	from, ours := b.old.from[c.Name]
	i := slices.IndexFunc(b.claims, func(o Claim) bool { return o.Name == b.old.Primary })
	return ours && i >= 0 && !b.claims[i].Left.IsZero() && !from.Before(b.claims[i].Left)
}

// drop takes candidates out. Those that claim to be primary are fenced.
func (b *ballot) drop(why string, which func(Claim) bool) {
	b.candidates = slices.DeleteFunc(b.candidates, func(c Claim) bool {
		if !which(c) {
			return false
		}
		if c.Role == health.RolePrimary {
			b.next.Fenced[c.Name], b.next.from[c.Name] = why, c.since
		}
		return true
	})
}

// newestEpoch drops those of an older one.
func (b *ballot) newestEpoch() {
	top := b.old.Epoch
	for _, c := range b.candidates {
		top = max(top, c.Epoch)
	}
	b.drop(fmt.Sprintf("claims to be primary in an epoch before %d", top), func(c Claim) bool { return c.Epoch < top })
}

// wellPeers leaves out the peers that ask to be used last, if there are others.
func (b *ballot) wellPeers() {
	well := func(c Claim) bool { return c.Role == health.RolePeer && !c.Last }
	if slices.ContainsFunc(b.candidates, well) {
		b.candidates = slices.DeleteFunc(b.candidates, func(c Claim) bool { return c.Role == health.RolePeer && c.Last })
	}
}

// incumbent decides between the one that was primary, if it stands, and the others,
// and reports whether it goes on without a break.
func (b *ballot) incumbent() bool {
	i := slices.IndexFunc(b.candidates, func(c Claim) bool { return c.Name == b.old.Primary })
	if i < 0 {
		return false
	}
	own := b.candidates[i]
	away := !own.Left.IsZero()
	follower := func(c Claim) bool {
		return away && c.Name != own.Name && c.Role == health.RolePrimary && !c.since.Before(own.Left)
	}
	if slices.ContainsFunc(b.candidates, follower) {
		b.drop("claims to be primary, and another was made so while it was away", func(c Claim) bool { return c.Name == own.Name })
		return false
	}
	b.drop(fmt.Sprintf("claims to be primary beside %s, which has been it for longer", own.Name),
		func(c Claim) bool { return c.Name != own.Name })
	if away {
		return false // it has to be confirmed
	}
	b.next.Epoch, b.next.Seated = own.Epoch, true
	return true
}

// successor seats the one that is left, if there is one and all others have been
// heard.
func (b *ballot) successor() {
	isPrimary := func(c Claim) bool { return c.Role == health.RolePrimary }
	switch {
	case len(b.candidates) == 0:
		b.next.Why = "no backend is primary"
		return
	case len(b.candidates) > 1 && slices.ContainsFunc(b.candidates, isPrimary):
		b.next.Torn = true
		b.next.Why = "none is used, because several claim to be primary: " + strings.Join(names(b.candidates), ", ")
		return
	}
	c := b.candidates[0]
	for _, o := range b.claims {
		if o.Name != c.Name && (!o.Known || !o.Away && !o.Mute && o.Asked.Before(c.since)) {
			b.next.Why = fmt.Sprintf("%s claims to be primary, and %s has yet to say what it is", c.Name, o.Name)
			return
		}
	}
	b.next.Enthrone(c, b.claims)
}

// Enthrone makes c the primary, and takes note of whose place it takes.
func (t *Throne) Enthrone(c Claim, claims []Claim) {
	if t.Deposed == nil {
		t.Deposed = make(map[string]bool)
	}
	before := slices.IndexFunc(claims, func(o Claim) bool { return o.Name == t.Primary })
	if t.Primary != "" && c.Role == health.RolePrimary && (before < 0 || !claims[before].follows()) {
		t.Deposed[t.Primary] = true
	}
	delete(t.Deposed, c.Name)
	t.Primary, t.Epoch, t.Seated = c.Name, c.Epoch, true
}

func names(claims []Claim) []string {
	out := make([]string, len(claims))
	for i, c := range claims {
		out[i] = c.Name
	}
	return out
}

// Equal reports whether nothing that matters differs.
func (t Throne) Equal(o Throne) bool {
	return t.Seated == o.Seated && t.Why == o.Why && t.Remembers(o)
}

// Remembers reports whether a memory of t and one of o are the same.
func (t Throne) Remembers(o Throne) bool {
	return t.Primary == o.Primary && t.Epoch == o.Epoch && maps.Equal(t.Fenced, o.Fenced) && maps.Equal(t.Deposed, o.Deposed)
}

// A Rank is what an election makes of a backend, for those who pick.
type Rank struct {
	Role    string
	Epoch   uint64
	Lag     time.Duration
	Primary bool   // it is the incumbent, and nobody has taken its place
	Barred  string // why it gets no new connections; empty: it may
	Fenced  bool   // nor keeps those it has
}

// Rank says what the election made of c.
func (t Throne) Rank(c Claim) Rank {
	r := Rank{Role: c.Role, Epoch: c.Epoch, Lag: c.Lag}
	why, fenced := t.Fenced[c.Name]
	switch {
	case fenced:
		r.Fenced, r.Barred = true, "fenced: "+why
	case c.Name == t.Primary && (t.Seated || c.Away):
		r.Primary = true
		if !t.Seated {
			r.Barred = "was primary, which is to be confirmed"
		}
	case c.Role == health.RolePrimary:
		r.Barred = "claims to be primary, which is to be confirmed"
	}
	return r
}
