package pool

import (
	"cmp"
	"context"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"slices"
	"time"

	"github.com/foretier/foretier/health"
	"github.com/foretier/foretier/internal/fair"
	"github.com/foretier/foretier/internal/transit"
)

// An Ask is what a place is wanted for, for one attempt after the other.
type Ask struct {
	Pin        string        // the member that is wanted, if it may serve; empty: any
	Bind       uint64        // equal ones go to one member, whatever the policy is; 0: the policy picks
	Key        uint64        // for the policy; 0: none
	Request    *http.Request // likewise; may be nil
	Client     netip.Addr    // whose share of the places it takes; zero: nobody's
	Stream     bool          // it counts as a stream
	MayStream  bool          // it may turn out to be one
	Repeatable bool          // it may be given to one on trial

	who     fair.Key // of Client, where there are limits
	Tried   []*Member
	scratch [8]*Entry
	room    [2]*Member // for tried
}

// A Choice is what is decided for the next attempt at one moment. Serving acts
// on it, and an explanation tells it.
type Choice struct {
	Snap   *Snapshot
	List   []*Entry // who is considered
	Entry  *Entry   // who gets it; nil: nobody
	policy Policy   // that has picked it; nil: none has
	Why    string   // else, why this one, or nobody
	Err    error    // [ErrBusy] or what wraps it, [ErrNoBackend]: nobody
}

// Because returns why it is this one, or nobody, in words.
func (c Choice) Because() string {
	if c.policy != nil {
		return c.policy.Why()
	}
	return c.Why
}

// Choose decides for the next attempt. With peek nothing is counted: it is only
// to be told.
func (v *View) Choose(a *Ask, now time.Time, peek bool) Choice {
	c := Choice{Snap: v.Current(now)}
	first := len(a.Tried) == 0
	if first && v.limited() {
		if a.who == 0 {
			a.who = fair.Of(a.Client)
		}
		if c.Err = v.crowds(a, c.Snap.Use); c.Err != nil {
			c.List, c.Why = c.Snap.Use, "what is free is kept for others"
			return c
		}
	}
	if first && a.Pin != "" && v.bound(a, &c, now) {
		return c
	}
	var turn Choice // whose it is, though that does not suit; zero: nobody's
	picky := c.Snap.trial || v.limited() || v.Set.avoided.Load()
	if first && !(picky && peek) { // who looks wants to see who is considered
		c.List = c.Snap.Use
		v.among(a, &c, now, peek)
		if !picky || c.Err != nil || v.suits(a, c.Entry, now, true) {
			return c
		}
		turn, c = c, Choice{Snap: c.Snap} // as few are; whoever else is picked has it beside its own turn
	}
	c.List = v.consider(a, c.Snap, now)
	if len(c.List) == 0 && first && len(c.Snap.Use) > 0 {
		c.Err, c.Why = v.allFull(a, c.Snap.Use), "all that may serve are full"
		return c
	}
	if turn.Entry != nil && slices.Contains(c.List, turn.Entry) { // nobody suits better
		turn.List = c.List
		return turn
	}
	v.among(a, &c, now, peek)
	return c
}

// limited reports whether there are limits of what is in hand.
func (v *View) limited() bool { return v.Limits.InFlight > 0 || v.Limits.Streams > 0 }

// bound chooses the member to which a's client is bound, if that may serve.
func (v *View) bound(a *Ask, c *Choice, now time.Time) bool {
	e := c.Snap.ByName(a.Pin)
	if e == nil || !c.Snap.serves(e, now) {
		return false
	}
	c.List, c.Entry, c.Why, c.Err = c.Snap.Use, e, "the client is bound to it", v.full(a, e)
	if c.Err == ErrBusy {
		c.Err = errBound
	}
	return true
}

// among chooses among those who are considered.
func (v *View) among(a *Ask, c *Choice, now time.Time, peek bool) {
	candidates := Candidates{Now: now, List: c.List, Snap: c.Snap, stream: a.Stream || a.MayStream}
	switch {
	case len(c.List) == 0:
		c.Err, c.Why = ErrNoBackend, "no backend may serve"
	case len(c.List) == 1:
		c.Entry, c.Why = c.List[0], "the only one that may serve"
	case a.Bind != 0:
		c.Entry, c.Why = c.List[rendezvous(a.Bind, candidates, 1.25)], "by the client's key"
	default:
		info := PickInfo{Now: now, Rand: rand.Uint64(), Key: a.Key, Request: a.Request, Peek: peek}
		c.Entry, c.policy = c.List[v.policy.Choose(info, candidates)], v.policy
	}
}

// consider returns those among whom the pick is.
func (v *View) consider(a *Ask, snap *Snapshot, now time.Time) []*Entry {
	list := v.filter(a, snap.Use, now, true)
	if len(list) == 0 {
		list = v.filter(a, snap.Use, now, false)
	}
	if len(list) > 0 || len(a.Tried) == 0 {
		return list
	}
	// The backups, and those in disgrace, lowest tier first.
	list = v.filter(a, snap.rest, now, true)
	if len(list) == 0 {
		list = v.filter(a, snap.shut, now, false)
	}
	return list[:min(len(list), 1)]
}

// filter returns those of from that suit.
func (v *View) filter(a *Ask, from []*Entry, now time.Time, careful bool) []*Entry {
	out := a.scratch[:0]
	for _, e := range from {
		if v.suits(a, e, now, careful) {
			out = append(out, e)
		}
	}
	return out
}

// suits leaves out who was tried, who is full, and, if careful, who is to be
// avoided, and who is on trial and has its one request, or would get one that
// can't be repeated.
func (v *View) suits(a *Ask, e *Entry, now time.Time, careful bool) bool {
	if slices.Contains(a.Tried, e.Member) || v.full(a, e) != nil {
		return false
	}
	return !careful || !(e.Health.Trial && (e.Load.InFlight() > 0 || !a.Repeatable) || e.avoid.Load() > now.UnixNano())
}

// serves reports whether e may serve, at now, a client that is bound to it.
func (s *Snapshot) serves(e *Entry, now time.Time) bool {
	m := e.Wanted()
	if m == drain && now.UnixNano() >= e.drained.Load() && !slices.Contains(s.Use, e) {
		m = maintenance
	}
	return m != maintenance && e.Health.State != health.Down && e.Standing.Barred == ""
}

// full returns why e has no place for one more like a, or nil.
func (v *View) full(a *Ask, e *Entry) error {
	limit := v.Limits
	if (a.Stream || a.MayStream) && limit.Streams > 0 {
		if e.Load.Streams() >= limit.Streams {
			return ErrStreams
		}
		if len(a.Tried) == 0 && v.places(a.who, true).overAt(e, 0) {
			return errStreamShare
		}
	}
	if !a.Stream && limit.InFlight > 0 {
		if e.Load.InFlight() >= limit.InFlight {
			return ErrBusy
		}
		if len(a.Tried) == 0 && v.places(a.who, false).overAt(e, 0) {
			return ErrShare
		}
	}
	return nil
}

// crowds returns why a's client has no place at any of use, of which some have
// places, or nil.
func (v *View) crowds(a *Ask, use []*Entry) error {
	if (a.Stream || a.MayStream) && v.places(a.who, true).over(use, 0) {
		return errStreamShare
	}
	if !a.Stream && v.places(a.who, false).over(use, 0) {
		return ErrShare
	}
	return nil
}

// allFull returns why none of them has a place: what is worth a wait, if anything
// is, and rather what any end of a request may change.
func (v *View) allFull(a *Ask, list []*Entry) error {
	var busy bool
	var why error
	for _, e := range list {
		switch err := v.full(a, e); {
		case err == ErrBusy:
			busy = true
		case why == nil || err == ErrShare:
			why = err
		}
	}
	if busy && why != nil {
		return errPartly
	}
	return cmp.Or(why, ErrBusy) // or a place has come free meanwhile
}

// Take chooses a member that has a place, and takes it.
func (v *View) Take(a *Ask, p *Place, now time.Time) (Choice, error) {
	for {
		c := v.Choose(a, now, false)
		if c.Err != nil {
			return c, c.Err
		}
		if a.Stream && !c.Entry.Load.TryStream(&p.Ticket, now, v.Limits.Streams) ||
			!a.Stream && !c.Entry.Load.TryStart(&p.Ticket, now, v.Limits.InFlight) {
			now = time.Now()
			continue // another was faster
		}
		// A further attempt is the same request, which has been let in.
		if due := p.take(v.places(a.who, a.Stream), c.Snap.Use, c.Entry); !due && len(a.Tried) == 0 {
			p.Leave()
			v.Free(p)
			now = time.Now()
			continue
		}
		if a.Tried == nil {
			a.Tried = a.room[:0]
		}
		a.Tried = append(a.Tried, c.Entry.Member)
		c.Entry.Requests.Add(1)
		return c, nil
	}
}

// Stream counts a request at e that was answered as a stream, which it has turned
// out to be, or returns why there is no place for one more.
func (v *View) Stream(a *Ask, e *Entry, p *Place) error {
	if !p.Ticket.Stream(v.Limits.Streams) {
		return ErrStreams
	}
	p.give()
	a.Stream = true
	if !p.take(v.places(a.who, true), v.Current(time.Now()).Use, e) {
		return errStreamShare
	}
	return nil
}

// Abandon gives back the place of an attempt that was not begun.
func (v *View) Abandon(e *Entry, p *Place) {
	p.Leave()
	e.Requests.Add(^uint64(0))
	v.Free(p)
}

// Free gives back a place.
func (v *View) Free(p *Place) {
	p.Done()
	p.give()
	v.Freed()
}

// Freed lets the first who waits try for a place.
func (v *View) Freed() {
	if v.Limits.InFlight > 0 {
		v.queue.wake()
	}
}

// Waiting returns how many wait for a place.
func (v *View) Waiting() int { return v.queue.len() }

// InLine returns how many wait whom a newcomer must not overtake.
func (v *View) InLine() int { return v.queue.before() }

// behind returns how many who came before wait for any place.
func (v *View) behind(a *Ask) int {
	if v.Limits.InFlight == 0 || a.Stream {
		return 0
	}
	return v.InLine()
}

// may reports whether the client of what was not tried yet may have one of the
// places where it may have any. It changes nothing and takes no lock.
func (v *View) may(a *Ask) bool {
	snap := v.Snap.Load()
	if v.crowds(a, snap.Use) != nil {
		return false
	}
	e := snap.ByName(a.Pin)
	return a.Pin == "" || e == nil || !snap.serves(e, time.Now()) || v.full(a, e) == nil
}

// Acquire calls try, which takes a place: at once if nobody waits for one, and
// else in turn.
func (v *View) Acquire(ctx context.Context, a *Ask, try func() error) error {
	if v.behind(a) == 0 {
		if err := try(); !worthAWait(err) {
			return err
		}
	}
	var err error
	full := v.queue.wait(ctx, v.Closing.Done(), v.Limits, transit.Network(a.Client), func() bool { return v.may(a) }, func() error {
		err = try()
		return err
	})
	if full != nil {
		return full
	}
	return err
}
