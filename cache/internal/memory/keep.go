package memory

import "slices"

// A Keepsake is kept beside an entry for as long as that is stored and nothing
// newer stands before it in its URL's chain. End is called with the store
// locked, once; it must not call the store.
type Keepsake interface{ End() }

// keepsakes are those of one entry, the oldest first.
type keepsakes []keepsake

type keepsake struct {
	what  Keepsake
	bytes int64 // part of the entry's size
}

// maxKept is how many there may be beside one entry; the oldest makes room.
const maxKept = 8

// Keep keeps k, which takes n bytes, beside e, and reports whether e is still
// what lookups find: it is stored, and no entry of its URL that is newer is one
// that hides it.
func (s *Store) Keep(e *Entry, k Keepsake, n int64, hides func(newer *Entry) bool) bool {
	s.mu.Lock()
	defer s.unlock()
	if !s.makeRoomLocked(n) || !s.storedLocked(e) { // it may have made room itself
		return false
	}
	sh := s.shardOf(e)
	sh.mu.RLock()
	newer := sh.urls[e.URL]
	for newer != e && !hides(newer) {
		newer = newer.next
	}
	sh.mu.RUnlock()
	if newer != e {
		return false
	}
	if e.kept == nil {
		e.kept = new(keepsakes)
	}
	if len(*e.kept) == maxKept {
		s.dropKeptLocked(e, 0).End()
	}
	*e.kept = append(*e.kept, keepsake{k, n})
	s.growLocked(e, n)
	return true
}

// Forget takes k off e, if it is there; it is not ended by that.
func (s *Store) Forget(e *Entry, k Keepsake) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e.kept == nil {
		return
	}
	if i := slices.IndexFunc(*e.kept, func(one keepsake) bool { return one.what == k }); i >= 0 {
		s.dropKeptLocked(e, i)
	}
}

// dropKeptLocked takes the keepsake at i off e.
func (s *Store) dropKeptLocked(e *Entry, i int) Keepsake {
	one := (*e.kept)[i]
	*e.kept = slices.Delete(*e.kept, i, i+1)
	s.growLocked(e, -one.bytes)
	return one.what
}

// endKeptLocked ends all that is kept beside e.
func (s *Store) endKeptLocked(e *Entry) {
	if e.kept == nil {
		return
	}
	for len(*e.kept) > 0 {
		s.dropKeptLocked(e, 0).End()
	}
	e.kept = nil
}

func (s *Store) storedLocked(e *Entry) bool { return e.queue == inSmall || e.queue == inMain }

// growLocked makes e, which is stored, larger by n bytes.
func (s *Store) growLocked(e *Entry, n int64) {
	e.size += n
	s.queue(e.queue).bytes += n
	s.held += n
	s.used += n
}
