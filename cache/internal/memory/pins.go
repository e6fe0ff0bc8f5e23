package memory

import (
	"net/netip"
	"sync/atomic"
	"time"
)

// What is read after it has left the queues is loose: it takes room, and no
// lookup finds it. How long it does is for the clients to say, so it has a share
// of its own. What goes beyond is taken back, from the readers who work for it
// least, before it is taken from what all others are served from.
const (
	looseShare = 4  // of max: what may be loose when room is short
	givenShare = 10 // of max: what may be given up and not yet let go of
)

// A Reader can be made to let go of what it reads. GiveUp reports whether it
// will, soon; it must not call the store.
type Reader interface{ GiveUp() bool }

// A Pin is a reader's hold on an entry, which may be taken from it. Reader and
// Client are set before [Store.Pin].
type Pin struct {
	Reader Reader     // nil: it cannot be given up
	Client netip.Addr // whose the reader is

	moved      atomic.Int64 // when its client took something last, in Unix nanoseconds
	given      atomic.Bool  // it has been given up
	entry      *Entry
	next, prev *Pin // of the same entry; guarded by the shard's pinning
}

// Moved says that the client has taken something.
func (p *Pin) Moved(now int64) { p.moved.Store(now) }

// Given reports whether the reader has been given up. Until then, after Unpin,
// the store has forgotten p.
func (p *Pin) Given() bool { return p.given.Load() }

// Pin notes who reads e, which the caller holds and goes on holding until
// Unpin.
func (s *Store) Pin(p *Pin, e *Entry, now int64) {
	p.entry = e
	p.moved.Store(now)
	sh := s.shardOf(e)
	sh.pinning.Lock()
	if e.given {
		sh.pinning.Unlock()
		s.mu.Lock()
		s.takeBackLocked(e)
		s.mu.Unlock()
		sh.pinning.Lock()
	}
	p.prev, p.next = nil, e.pins
	if e.pins != nil {
		e.pins.prev = p
	}
	e.pins = p
	sh.pinning.Unlock()
}

// Unpin ends what Pin began.
func (s *Store) Unpin(p *Pin) {
	sh := s.shardOf(p.entry)
	sh.pinning.Lock()
	if p.prev == nil {
		p.entry.pins = p.next
	} else {
		p.prev.next = p.next
	}
	if p.next != nil {
		p.next.prev = p.prev
	}
	sh.pinning.Unlock()
	p.entry, p.next, p.prev = nil, nil, nil
}

// Hold returns an entry that nobody finds: it stands for n bytes that are read
// and not stored, until it is released. Of these, reserved are reserved already.
func (s *Store) Hold(n, reserved int64) *Entry {
	e := new(Entry)
	e.refs.Store(1)
	e.size = n
	s.mu.Lock()
	defer s.unlock()
	s.used += n - reserved
	s.moveLocked(e, inLoose)
	s.makeRoomLocked(0)
	return e
}

// Grow adds n bytes to what Hold returned and reports whether there is room.
func (s *Store) Grow(e *Entry, n int64) bool {
	s.mu.Lock()
	defer s.unlock()
	if !s.makeRoomLocked(n) {
		return false
	}
	s.resizeLocked(e, n)
	return true
}

// Shrink gives back n bytes of what Hold returned.
func (s *Store) Shrink(e *Entry, n int64) {
	s.mu.Lock()
	s.resizeLocked(e, -n)
	s.mu.Unlock()
}

func (s *Store) resizeLocked(e *Entry, n int64) {
	e.size += n
	if e.given {
		s.given += n
		return
	}
	s.used += n
	s.loose.bytes += n
}

// unlock unlocks the store and tells those who are given up.
func (s *Store) unlock() {
	quits := s.quits
	s.quits = nil
	s.mu.Unlock()
	for _, q := range quits {
		if !q.Reader.GiveUp() {
			s.mu.Lock()
			s.takeBackLocked(q.entry)
			q.entry.stuck = true
			s.mu.Unlock()
		}
	}
}

// A quit is a reader that is to be told.
type quit struct {
	Reader
	entry *Entry
}

// giveUpLocked gives up the readers of one loose entry, and counts what they
// hold as free. Those go first who have taken nothing for longest, times all
// that their client holds. Whoever takes what it is sent, and little at a time,
// keeps an entry for all who read it.
func (s *Store) giveUpLocked() bool {
	now, held := time.Now().UnixNano(), s.heldLocked()
	var worst *Entry
	var most float64
	for e := s.loose.oldest; e != nil; e = e.newer {
		if idle, ok := s.idleLocked(e, now, held); ok && (worst == nil || idle > most) {
			worst, most = e, idle
		}
	}
	if worst == nil || s.given > 0 && s.given+worst.size > s.max/givenShare {
		return false
	}
	sh := s.shardOf(worst)
	sh.pinning.Lock()
	defer sh.pinning.Unlock()
	for p := worst.pins; p != nil; p = p.next {
		if p.Reader == nil {
			continue // it has come just now
		}
		p.given.Store(true)
		s.quits = append(s.quits, quit{p.Reader, worst})
		s.abandoned++
	}
	s.moveLocked(worst, nowhere)
	worst.given = true
	s.used -= worst.size
	s.given += worst.size
	return true
}

// heldLocked returns what the readers of each client hold that is loose.
func (s *Store) heldLocked() map[netip.Addr]int64 {
	held := make(map[netip.Addr]int64)
	for e := s.loose.oldest; e != nil; e = e.newer {
		sh := s.shardOf(e)
		sh.pinning.Lock()
		for p := e.pins; p != nil; p = p.next {
			held[p.Client] += e.size
		}
		sh.pinning.Unlock()
	}
	return held
}

// idleLocked returns for how long that one of e's readers has taken nothing who
// took something last, times what its client holds. It is not ok if nobody reads e,
// or somebody who cannot be given up.
func (s *Store) idleLocked(e *Entry, now int64, held map[netip.Addr]int64) (least float64, ok bool) {
	sh := s.shardOf(e)
	sh.pinning.Lock()
	defer sh.pinning.Unlock()
	for p := e.pins; p != nil && !e.stuck; p = p.next {
		if p.Reader == nil {
			return 0, false
		}
		x := float64(max(1, now-p.moved.Load())) * float64(held[p.Client])
		if !ok || x < least {
			least, ok = x, true
		}
	}
	return least, ok
}

// takeBackLocked counts e again, which was given up: somebody reads it still.
func (s *Store) takeBackLocked(e *Entry) {
	sh := s.shardOf(e)
	sh.pinning.Lock()
	defer sh.pinning.Unlock()
	if !e.given || e.refs.Load() == 0 {
		return
	}
	e.given = false
	s.given -= e.size
	s.used += e.size
	s.moveLocked(e, inLoose)
}
