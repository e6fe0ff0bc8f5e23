package router

import (
	"cmp"
	"fmt"
	"math"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/foretier/foretier/internal/fair"
	"github.com/foretier/foretier/internal/transit"
)

// A Limit bounds what a rule's clients may ask for; beyond, they get 429 and a
// Retry-After. The zero Limit bounds nothing.
type Limit struct {
	// Rate is how many requests a second one client may send for long. A client
	// is an IPv4 address or an IPv6 /64; all those of an IPv6 /48, of which one
	// customer may have all, may send as much as 32. Zero means no limit; the
	// least is one a day.
	Rate float64
	// Burst is how many it may send at once. Zero means a second's worth, but
	// at least 1.
	Burst int
	// InFlight is how many requests the rule serves at once, of all clients:
	// its share of a pool's slots. One client may hold seven times as many as
	// are left free: alone all but an eighth, and of fewer than eight all. A
	// connection that is upgraded and an answer of text/event-stream leave it,
	// unless the rule has Streams. Zero means no limit.
	//
	// While a pool below waits for a request's body, the request holds none,
	// and gets 429 if there is none once the body is there. A body that goes on
	// to its backend as it comes (see balancer.Spool) is counted before: a
	// quarter of all may be of such requests, and half of that of each client's,
	// but one at least, unless there is only one.
	InFlight int
}

func (l Limit) check() error {
	if l.Rate < 0 || math.IsNaN(l.Rate) || math.IsInf(l.Rate, 0) || l.Burst < 0 || l.InFlight < 0 {
		return fmt.Errorf("Limit: %+v: want nothing negative", l)
	}
	if l.Rate > 0 && l.Rate < minRate {
		return fmt.Errorf("Limit: a Rate of %g requests a second: want %g, one a day, or more", l.Rate, minRate)
	}
	if l.Burst > 0 && l.Rate == 0 {
		return fmt.Errorf("Limit: a Burst without a Rate")
	}
	return nil
}

// minRate is one request a day: times between two must be times.
const minRate = 1.0 / (24 * 60 * 60)

// siteShare is what all clients of an IPv6 /48 may send, in shares of one.
const siteShare = 32

// A limiter applies a Limit. Addresses of IPv4 and of IPv6 have accounts apart:
// who has very many of one kind takes no room from the other.
type limiter struct {
	Limit
	every   time.Duration // between two requests at Rate
	places  *places       // nil without InFlight
	limited atomic.Uint64

	mu    sync.Mutex
	v4    accounts[netip.Addr] // guarded by mu: by address
	v6    accounts[netip.Addr] // guarded by mu: by /64
	sites accounts[netip.Addr] // guarded by mu: by /48
}

func newLimiter(l Limit) *limiter {
	if l == (Limit{}) {
		return nil
	}
	l.Burst = cmp.Or(l.Burst, max(1, int(l.Rate)))
	lim := &limiter{Limit: l}
	if l.InFlight > 0 {
		lim.places = &places{limit: l.InFlight}
	}
	if l.Rate > 0 {
		lim.every = time.Duration(float64(time.Second) / l.Rate)
	}
	lim.v4.init(lim.every, l.Burst)
	lim.v6.init(lim.every, l.Burst)
	lim.sites.init(lim.every/siteShare, l.Burst*siteShare)
	return lim
}

// enter asks for one request more. ok is false if the client must wait; otherwise
// the turn, which is nil without InFlight, must be left when it has been served.
func (l *limiter) enter(client netip.Addr, now time.Time) (t *turn, wait time.Duration, ok bool) {
	if l.places != nil {
		if t = l.places.enter(client, &l.limited); t == nil {
			l.limited.Add(1)
			return nil, time.Second, false
		}
	}
	if wait, ok = l.rate(client, now, true); ok {
		return t, 0, true
	}
	if t != nil {
		t.leave()
	}
	l.limited.Add(1)
	return nil, wait, false
}

// allows tells what enter would answer, and counts nothing.
func (l *limiter) allows(client netip.Addr, now time.Time) (_ *turn, wait time.Duration, ok bool) {
	if l.places != nil && !l.places.free(fair.Of(client)) {
		return nil, time.Second, false
	}
	wait, ok = l.rate(client, now, false)
	return nil, wait, ok
}

// rate reports whether Rate lets one request more of a client's through, and if so
// and count is set puts it on the client's account.
func (l *limiter) rate(client netip.Addr, now time.Time, count bool) (wait time.Duration, ok bool) {
	if l.Rate == 0 {
		return 0, true
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	wait, s := l.askLocked(client, now)
	if wait > 0 {
		return wait, false
	}
	if count {
		l.addLocked(s, now)
	}
	return 0, true
}

// A sum is what a client, and its site if it has one, has on its accounts.
type sum struct {
	client, site netip.Addr
	due, siteDue account
}

// askLocked returns how long a client must wait at now, and its accounts.
func (l *limiter) askLocked(client netip.Addr, now time.Time) (wait time.Duration, s sum) {
	s.client = transit.Network(client)
	if !s.client.Is6() {
		wait, s.due = l.v4.ask(s.client, now)
		return wait, s
	}
	p, _ := s.client.Prefix(48) // an IPv6 address has 48 bits
	s.site = p.Addr()
	var site time.Duration
	site, s.siteDue = l.sites.ask(s.site, now)
	wait, s.due = l.v6.ask(s.client, now)
	return max(wait, site), s
}

// addLocked counts one request more.
func (l *limiter) addLocked(s sum, now time.Time) {
	if !s.site.IsValid() {
		l.v4.add(s.client, s.due, now)
		return
	}
	l.sites.add(s.site, s.siteDue, now)
	l.v6.add(s.client, s.due, now)
}

// back takes off a client's account what was counted and is not to count.
func (l *limiter) back(client netip.Addr) {
	l.mu.Lock()
	defer l.mu.Unlock()
	network := transit.Network(client)
	if !network.Is6() {
		l.v4.back(network)
		return
	}
	p, _ := network.Prefix(48) // an IPv6 address has 48 bits
	l.sites.back(p.Addr())
	l.v6.back(network)
}
