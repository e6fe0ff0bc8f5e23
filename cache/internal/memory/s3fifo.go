package memory

import "hash/maphash"

// S3-FIFO (Yang et al., SOSP 2023), weighted in bytes: what is new goes into a
// small queue, a tenth of the whole; what was asked for again there moves to
// the main queue, the rest leaves and is remembered as a ghost; whoever comes
// back as a ghost goes to the main queue at once. A hit is one counter, no
// lock and no list is touched.

type queueID uint8

const (
	nowhere queueID = iota
	inSmall
	inMain
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
	if e.freq.Load() > 0 || s.ghosts.take(s.ghostKey(e), s.max) {
		e.freq.Store(0)
		s.moveLocked(e, inMain)
		return
	}
	s.moveLocked(e, inSmall)
}

func (s *Store) dequeueLocked(e *Entry) { s.moveLocked(e, nowhere) }

// moveLocked takes e from the queue it is in and appends it to another.
func (s *Store) moveLocked(e *Entry, to queueID) {
	switch e.queue {
	case inSmall:
		s.small.remove(e)
	case inMain:
		s.main.remove(e)
	}
	switch to {
	case inSmall:
		s.small.push(e)
	case inMain:
		s.main.push(e)
	}
	e.queue = to
}

// victimLocked returns the entry to be evicted next, still in its queue, or
// nil if there is none.
func (s *Store) victimLocked() *Entry {
	for {
		if e := s.small.oldest; e != nil && (s.small.bytes > s.max/10 || s.main.oldest == nil) {
			if e.freq.Load() > 1 {
				e.freq.Store(0)
				s.moveLocked(e, inMain)
				continue
			}
			s.ghosts.add(s.ghostKey(e), e.size, s.count)
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
		return e
	}
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
