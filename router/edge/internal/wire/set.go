// Package wire has the connections of a server's clients, below TLS: how long
// each may keep the server waiting, which have gone away, and which cost
// nothing while nothing is asked on them.
//
// A limit of time is a number in a [Conn]. One coarse sweep looks at all of
// them and interrupts who waits beyond it; so a limit that is moved with every
// request costs a store, not a timer. A client's leaving, too, is noticed by
// one watch for all (epoll, on Linux), not by a goroutine that reads.
package wire

import (
	"cmp"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Options for [NewSet].
type Options struct {
	// WriteStall is how long a client may take nothing of what is written to
	// it. Zero: for ever.
	WriteStall time.Duration
	// HalfClosed says that a client which has closed its direction, and may
	// still read, has not left.
	HalfClosed bool
	// ParkAfter is how long nothing is asked on a connection before its reader is
	// asked to park. Zero means 5 s. It is half a second at most while more connections
	// than Crowd have not parked, and nothing for those that are asked less often than
	// that: what they have in all is their stacks, which the runtime keeps for long once
	// it had to make them.
	ParkAfter time.Duration
	// Crowd is how many connections may wait unparked before they are too many. Zero
	// means 1000; negative: none.
	Crowd int
	// Tick is how late a limit of time may be noticed. Zero means a second.
	Tick time.Duration
}

// A Set is the connections of one server. It is safe for concurrent use.
type Set struct {
	opts    Options
	start   time.Time
	watch   *watch       // nil: there is none on this system
	crew    crew         // of the connections and what is asked on them
	awake   atomic.Int32 // how many have not parked
	engaged atomic.Int32 // how many of those did not wait to be asked when they were looked at

	mu     sync.Mutex
	conns  map[*Conn]struct{} // guarded by mu
	timer  *time.Timer        // guarded by mu: of the sweep; nil while there are no connections
	closed bool               // guarded by mu
}

// NewSet returns an empty set.
func NewSet(opts Options) *Set {
	opts.Tick = cmp.Or(opts.Tick, time.Second)
	opts.Crowd = cmp.Or(opts.Crowd, 1000)
	opts.ParkAfter = cmp.Or(opts.ParkAfter, 5*time.Second)
	return &Set{opts: opts, start: time.Now(), watch: newWatch(opts.HalfClosed), conns: make(map[*Conn]struct{})}
}

// now is the time since the set was made, never 0.
func (s *Set) now() int64 { return int64(time.Since(s.start)) + 1 }

// Now is the time by which IdleSince of the set's connections tells.
func (s *Set) Now() time.Duration { return time.Duration(s.now()) }

// Add makes nc one of the set, until it is closed. A set that is closed closes it.
func (s *Set) Add(nc net.Conn) *Conn {
	c := &Conn{Conn: nc, set: s}
	c.idle.Store(s.now())
	if sc, ok := socketOf(nc); ok {
		c.raw, _ = sc.SyscallConn() // without it nobody watches the connection
	}
	if c.raw != nil {
		c.sock = newSocket(nc, c.raw, c.ShouldPark, c.awaitTaking)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		_ = nc.Close() // who uses it sees that
		return c
	}
	s.conns[c] = struct{}{}
	s.awake.Add(1)
	if s.timer == nil {
		s.timer = time.AfterFunc(s.opts.Tick, s.sweep)
	}
	return c
}

// socketOf finds the socket in nc, or in what that wraps as far as it shows it.
func socketOf(nc net.Conn) (syscall.Conn, bool) {
	for range 8 {
		if sc, ok := nc.(syscall.Conn); ok {
			return sc, true
		}
		in, ok := nc.(interface{ NetConn() net.Conn })
		if !ok {
			break
		}
		nc = in.NetConn()
	}
	return nil, false
}

// remove forgets c.
func (s *Set) remove(c *Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.conns[c]; ok {
		delete(s.conns, c)
		s.awake.Add(-1)
	}
}

// isCrowded reports whether so many wait unparked that they had better park: those that have
// come since they were counted count, whatever they do.
func (s *Set) isCrowded() bool { return int(s.awake.Load()-s.engaged.Load()) > s.opts.Crowd }

// sweep interrupts those who wait for too long, and comes again while there are
// connections.
func (s *Set) sweep() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || len(s.conns) == 0 {
		s.timer = nil
		return
	}
	s.timer.Reset(s.lookLocked(s.now()))
}

// lookLocked looks at all connections, and returns in what time to look again.
func (s *Set) lookLocked(now int64) time.Duration {
	waiting := int32(0)
	for c := range s.conns {
		c.look(now)
		if c.waits() {
			waiting++
		}
	}
	s.engaged.Store(s.awake.Load() - waiting)
	after, tick := s.opts.ParkAfter, s.opts.Tick
	if s.isCrowded() {
		after, tick = min(after, soon), min(tick, soon/4)
	}
	asked := 0
	for c := range s.conns {
		if c.parkAfter(now, after) {
			if asked++; asked == batch {
				return min(tick, soon/4)
			}
		}
	}
	return tick
}

const (
	soon  = 500 * time.Millisecond // readers of a crowd park
	batch = 500                    // are asked to at once: all of them run, before who has something to do
)

// All returns the connections that are open now.
func (s *Set) All() []*Conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]*Conn, 0, len(s.conns))
	for c := range s.conns {
		out = append(out, c)
	}
	return out
}

// Close closes the connections that are left, which nobody would give up any
// more, and ends the sweep and the watch.
func (s *Set) Close() {
	s.mu.Lock()
	s.closed = true
	if s.timer != nil {
		s.timer.Stop()
	}
	s.mu.Unlock()
	for _, c := range s.All() {
		_ = c.Close() // nothing can be done about one that does not close
	}
	s.watch.close()
	s.crew.close()
}
