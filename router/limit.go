package router

import (
	"fmt"
	"math"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// A Limit bounds what a rule's clients may ask for; beyond, they get 429 and a
// Retry-After. The zero Limit bounds nothing.
type Limit struct {
	// Rate is how many requests a second one client may send for long. A client
	// is an IPv4 address or an IPv6 /64. Zero means no limit; the least is one
	// a day.
	Rate float64
	// Burst is how many it may send at once. Zero means a second's worth, but
	// at least 1.
	Burst int
	// InFlight is how many requests the rule serves at once, of all clients:
	// its share of a pool's slots. A connection that is upgraded and an answer
	// of text/event-stream leave it, unless the rule has Streams. Zero means no
	// limit.
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

// maxClients is how many clients a limiter remembers, some 3 MB.
const maxClients = 1 << 16

// A limiter applies a Limit. Of each client it keeps one moment: when the
// requests that it has sent would have been due at its rate (the generic cell
// rate algorithm).
type limiter struct {
	Limit
	every    time.Duration // between two requests at Rate
	inFlight atomic.Int64
	limited  atomic.Uint64

	mu  sync.Mutex
	due map[netip.Addr]time.Time // guarded by mu
}

func newLimiter(l Limit) *limiter {
	if l == (Limit{}) {
		return nil
	}
	if l.Burst == 0 {
		l.Burst = max(1, int(l.Rate))
	}
	lim := &limiter{Limit: l, due: make(map[netip.Addr]time.Time)}
	if l.Rate > 0 {
		lim.every = time.Duration(float64(time.Second) / l.Rate)
	}
	return lim
}

// enter asks for one request more. ok is false if it must wait; otherwise
// leave must be called when it has ended. A nil limiter lets all in.
func (l *limiter) enter(client netip.Addr, now time.Time) (wait time.Duration, ok bool) {
	if l == nil {
		return 0, true
	}
	if n := l.inFlight.Add(1); l.InFlight > 0 && n > int64(l.InFlight) {
		wait, ok = time.Second, false
	} else {
		wait, ok = l.take(network(client), now)
	}
	if !ok {
		l.inFlight.Add(-1)
		l.limited.Add(1)
	}
	return wait, ok
}

// allows tells what enter would answer, and counts nothing.
func (l *limiter) allows(client netip.Addr, now time.Time) (wait time.Duration, ok bool) {
	if l == nil {
		return 0, true
	}
	if l.InFlight > 0 && l.inFlight.Load() >= int64(l.InFlight) {
		return time.Second, false
	}
	if l.Rate == 0 {
		return 0, true
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	wait = l.wait(l.due[network(client)], now)
	return wait, wait <= 0
}

// wait returns how long a client whose requests are due then must wait at now.
func (l *limiter) wait(due, now time.Time) time.Duration {
	if due.Before(now) {
		due = now
	}
	return due.Sub(now) - time.Duration(l.Burst-1)*l.every
}

func (l *limiter) leave() {
	if l != nil {
		l.inFlight.Add(-1)
	}
}

// take counts one request of a client, unless it must wait.
func (l *limiter) take(client netip.Addr, now time.Time) (wait time.Duration, ok bool) {
	if l.Rate == 0 {
		return 0, true
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	due, known := l.due[client]
	if !known && len(l.due) >= maxClients {
		l.forgetLocked(now)
	}
	if wait = l.wait(due, now); wait > 0 {
		return wait, false
	}
	if due.Before(now) {
		due = now
	}
	l.due[client] = due.Add(l.every)
	return 0, true
}

// forgetLocked makes room: clients that have nothing on their account go, and
// if there are none, some of the others.
func (l *limiter) forgetLocked(now time.Time) {
	for client, due := range l.due {
		if !due.After(now) {
			delete(l.due, client)
		}
	}
	for client := range l.due { // in no order
		if len(l.due) < maxClients*7/8 {
			return
		}
		delete(l.due, client)
	}
}

// network returns what counts as one client.
func network(addr netip.Addr) netip.Addr {
	if !addr.Is6() || addr.Is4In6() {
		return addr.Unmap()
	}
	p, _ := addr.Prefix(64) // an IPv6 address has 64 bits
	return p.Addr()
}
