package memory

import "hash/maphash"

// S3-FIFO (Yang et al., SOSP 2023), weighted in bytes: what is new goes into a
// small queue; what was asked for again there moves to the main queue, the rest
// leaves and is remembered as a ghost; whoever comes back as a ghost goes to
// the main queue at once. A hit is one counter, no lock and no list is touched.
//
// How small the small queue is, the ghosts decide, as in ARC (Megiddo and
// Modha, FAST 2003): who comes back soon after leaving the small queue would
// have been kept by a larger one, who comes back soon after leaving the main
// queue by a smaller one. Fixed at a twentieth it loses to LRU wherever
// responses are asked for a second time later than that and then no more; a
// quarter of the store is what counts as soon, because ghosts from further back
// say nothing of a little more room.
//
// What is smaller than the average is taken to have been asked for once more
// than it was: several such fit where one of the others stood. On the trace of
// the benchmarks that is a point of the requests.

type queueID uint8

const (
	nowhere queueID = iota
	inSmall
	inMain
	inLoose
)

// queue is a doubly linked FIFO.
type queue struct {
	oldest, newest *Entry
	bytes          int64
}

func (q *queue) push(e *Entry) {
	e.older, e.newer = q.newest, nil
	if q.newest == nil {
		q.oldest = e
	} else {
		q.newest.newer = e
	}
	q.newest = e
	q.bytes += e.size
}

func (q *queue) remove(e *Entry) {
	if e.older == nil {
		q.oldest = e.newer
	} else {
		e.older.newer = e.newer
	}
	if e.newer == nil {
		q.newest = e.older
	} else {
		e.newer.older = e.older
	}
	e.older, e.newer = nil, nil
	q.bytes -= e.size
}

func (s *Store) enqueueLocked(e *Entry) {
	if e.freq.Load() > 0 {
		s.promoteLocked(e)
		return
	}
	key := s.ghostKey(e)
	if age, ok := s.leavers.take(key); ok && age <= s.max {
		if age <= s.max/soon {
			s.aim = min(s.aim+e.size, s.max/2)
		}
		s.promoteLocked(e)
		return
	}
	if age, ok := s.retirees.take(key); ok && age <= s.max/soon {
		s.aim = max(s.aim-2*e.size, s.max/smallest)
	}
	s.moveLocked(e, inSmall)
}

const (
	smallest = 20 // the small queue's share at least, and at first; a half at most
	soon     = 4  // the share of the store that has left meanwhile
)

func (s *Store) dequeueLocked(e *Entry) { s.moveLocked(e, nowhere) }

// moveLocked takes e from the queue it is in and appends it to another.
func (s *Store) moveLocked(e *Entry, to queueID) {
	if q := s.queue(e.queue); q != nil {
		q.remove(e)
	}
	if q := s.queue(to); q != nil {
		q.push(e)
	}
	e.queue = to
}

// queue returns the queue of that name, or nil for nowhere.
func (s *Store) queue(id queueID) *queue {
	switch id {
	case inSmall:
		return &s.small
	case inMain:
		return &s.main
	case inLoose:
		return &s.loose
	}
	return nil
}

// victimLocked returns the entry to be evicted next, still in its queue, or
// nil if there is none.
func (s *Store) victimLocked() *Entry {
	for {
		if e := s.small.oldest; e != nil && (s.small.bytes > s.aim || s.main.oldest == nil) {
			if f := e.freq.Load(); f > 0 && f+s.creditLocked(e) > 1 {
				s.promoteLocked(e)
				continue
			}
			s.leavers.add(s.ghostKey(e), e.size, s.count)
			return e
		}
		e := s.main.oldest
		if e == nil {
			return nil
		}
		if f := e.freq.Load(); f > 0 {
			e.freq.Store(f - 1)
			s.moveLocked(e, inMain)
			continue
		}
		s.retirees.add(s.ghostKey(e), e.size, s.count/soon)
		return e
	}
}

// promoteLocked moves e to the main queue, where it has to prove itself anew.
func (s *Store) promoteLocked(e *Entry) {
	e.freq.Store(s.creditLocked(e))
	s.moveLocked(e, inMain)
}

// creditLocked returns 1 for what is smaller than the average, else 0.
func (s *Store) creditLocked(e *Entry) uint32 {
	if e.size*int64(s.count) < s.held {
		return 1
	}
	return 0
}

// ghostKey identifies an entry after it has gone.
func (s *Store) ghostKey(e *Entry) uint64 {
	h := maphash.String(s.seed, e.URL)
	if e.More != nil {
		h ^= maphash.String(s.seed, e.More.Parts)*3 ^ maphash.String(s.seed, e.More.Variant)*5
	}
	if e.HTTPS {
		h = ^h
	}
	return h
}
