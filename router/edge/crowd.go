package edge

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/foretier/foretier/internal/fields"
	"github.com/foretier/foretier/internal/transit"
)

// A crowd is the open connections, of all and of each client: nobody holds all
// that there may be. Where there is no room for a new one, those make room on
// which nothing is asked, the longest idle first; if there are none, the new one
// is closed.
type crowd struct {
	srv   *Server
	lines transit.Lines // of the log, about full limits

	mu      sync.Mutex
	open    map[member]netip.Prefix // guarded by mu: whose it is; the zero Prefix for nobody who is counted
	clients map[netip.Prefix]int    // guarded by mu: connections of each
	vain    time.Time               // guarded by mu: when no idle one was found

	closedIdle, refused atomic.Uint64
}

// A member is a connection that counts.
type member interface {
	RemoteAddr() net.Addr
	// IdleSince returns since when nothing is asked on it, and whether that is so.
	IdleSince() (time.Duration, bool)
	// turnOut closes it: whoever serves it notices, and closes the rest.
	turnOut()
}

// admit counts c, for which it makes room, or reports that there is none.
func (cr *crowd) admit(c member) bool {
	limit := cr.srv.opts.Limits.Conns
	cr.mu.Lock()
	if cr.open == nil {
		cr.open, cr.clients = make(map[member]netip.Prefix), make(map[netip.Prefix]int)
	}
	open := len(cr.open)
	full := limit > 0 && open >= limit
	var off []member
	if full {
		off = cr.idleLocked(netip.Prefix{}, max(1, limit/64))
	}
	if !full || len(off) > 0 {
		cr.open[c] = netip.Prefix{}
	}
	cr.mu.Unlock()
	cr.close(off)
	switch {
	case !full:
		return true
	case len(off) > 0:
		cr.say("connections at the limit: idle ones are closed", open, limit, netip.Prefix{})
		return true
	}
	cr.refused.Add(1)
	cr.say("connections beyond the limit: new ones are closed", open, limit, netip.Prefix{})
	return false
}

// count counts c among its client's connections, whose address is known by now. It
// reports false if the client has too many.
func (cr *crowd) count(c member) bool {
	limit := cr.srv.opts.Limits.ClientConns
	peer, ok := fields.PeerAddr(c.RemoteAddr().String())
	if limit <= 0 || !ok || within(cr.srv.opts.Trusted, peer) {
		return true
	}
	bits := 64 // what one customer of a provider has
	if peer.Is4() {
		bits = 32
	}
	who, _ := peer.Prefix(bits) // these bits exist
	cr.mu.Lock()
	if _, ok := cr.open[c]; !ok {
		cr.mu.Unlock()
		return false // closed meanwhile
	}
	n := cr.clients[who]
	var off []member
	if n >= limit {
		off = cr.idleLocked(who, 1)
	}
	ok = n < limit || len(off) > 0
	if ok {
		cr.open[c] = who
		cr.clients[who]++
	}
	cr.mu.Unlock()
	cr.close(off)
	switch {
	case len(off) > 0:
		cr.say("connections of one client at the limit: idle ones are closed", n, limit, who)
	case !ok:
		cr.refused.Add(1)
		cr.say("connections of one client beyond the limit", n, limit, who)
	}
	return ok
}

// remove forgets c, which has been closed.
func (cr *crowd) remove(c member) {
	cr.mu.Lock()
	defer cr.mu.Unlock()
	cr.forgetLocked(c)
}

func (cr *crowd) forgetLocked(c member) {
	who, ok := cr.open[c]
	if !ok {
		return
	}
	delete(cr.open, c)
	if who.IsValid() {
		if cr.clients[who]--; cr.clients[who] == 0 {
			delete(cr.clients, who)
		}
	}
}

// idleLocked takes up to n idle connections out, of one client or, if who is
// zero, of all. Several go at once, since looking for them takes as long as
// there are connections.
func (cr *crowd) idleLocked(who netip.Prefix, n int) []member {
	const pause = 50 * time.Millisecond
	now := time.Now()
	if !who.IsValid() && now.Sub(cr.vain) < pause {
		return nil
	}
	type candidate struct {
		c     member
		since time.Duration
	}
	var idle []candidate
	for c, of := range cr.open {
		if since, idles := c.IdleSince(); idles && (!who.IsValid() || of == who) {
			idle = append(idle, candidate{c, since})
		}
	}
	if len(idle) == 0 && !who.IsValid() {
		cr.vain = now
	}
	slices.SortFunc(idle, func(a, b candidate) int { return cmp.Compare(a.since, b.since) })
	var out []member
	for _, one := range idle[:min(n, len(idle))] {
		cr.forgetLocked(one.c)
		out = append(out, one.c)
	}
	return out
}

// close closes connections that have been taken out.
func (cr *crowd) close(off []member) {
	for _, c := range off {
		cr.closedIdle.Add(1)
		c.turnOut()
	}
}

// exhausted makes room if err says that there are no descriptors left.
func (cr *crowd) exhausted(err error) {
	if !errors.Is(err, syscall.EMFILE) && !errors.Is(err, syscall.ENFILE) {
		return
	}
	cr.mu.Lock()
	open := len(cr.open)
	off := cr.idleLocked(netip.Prefix{}, max(1, open/64))
	cr.mu.Unlock()
	cr.close(off)
	cr.say("no descriptors left for connections: "+err.Error(), open, cr.srv.opts.Limits.Conns, netip.Prefix{})
}

// say logs at Error, once a second.
func (cr *crowd) say(what string, open, limit int, who netip.Prefix) {
	others, ok := cr.lines.Allow(time.Now())
	if !ok {
		return
	}
	attrs := []slog.Attr{slog.Int("open", open), slog.Int("limit", limit), slog.Int("others", others)}
	if who.IsValid() {
		addr := who.Addr()
		if cr.srv.opts.AnonymousLog {
			addr = anonymous(addr)
		}
		attrs = append(attrs, slog.String("client", addr.String()))
	}
	cr.srv.opts.Logger.LogAttrs(context.Background(), slog.LevelError, what, attrs...)
}
