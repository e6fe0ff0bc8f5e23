package memory

import (
	"slices"
	"sync/atomic"
)

// A Keepsake is kept beside an entry for as long as that is stored and nothing
// newer stands before it in its URL's chain. End is called with the store
// locked, once; it must not call the store.
type Keepsake interface{ End() }

// beside is what stands beside an entry: as few have anything as are asked for.
type beside struct {
	kept  []keepsake // the oldest first; guarded by Store.mu
	forms [MaxForms]atomic.Pointer[Entry]
	plain atomic.Bool // there will be no further forms
}

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
	b := e.besideLocked()
	if len(b.kept) == maxKept {
		s.dropKeptLocked(b, e, 0).End()
	}
	b.kept = append(b.kept, keepsake{k, n})
	s.growLocked(e, n)
	return true
}

// Forget takes k off e, if it is there; it is not ended by that.
func (s *Store) Forget(e *Entry, k Keepsake) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := e.beside.Load()
	if b == nil {
		return
	}
	if i := slices.IndexFunc(b.kept, func(one keepsake) bool { return one.what == k }); i >= 0 {
		s.dropKeptLocked(b, e, i)
	}
}

// besideLocked returns what stands beside e, made if need be.
func (e *Entry) besideLocked() *beside {
	b := e.beside.Load()
	if b == nil {
		b = new(beside)
		e.beside.Store(b)
	}
	return b
}

// dropKeptLocked takes the keepsake at i off b, which stands beside e.
func (s *Store) dropKeptLocked(b *beside, e *Entry, i int) Keepsake {
	one := b.kept[i]
	b.kept = slices.Delete(b.kept, i, i+1)
	s.growLocked(e, -one.bytes)
	return one.what
}

// endKeptLocked ends all that is kept beside e.
func (s *Store) endKeptLocked(e *Entry) {
	b := e.beside.Load()
	if b == nil {
		return
	}
	for len(b.kept) > 0 {
		s.dropKeptLocked(b, e, 0).End()
	}
	b.kept = nil
}

func (s *Store) storedLocked(e *Entry) bool { return e.queue == inSmall || e.queue == inMain }

// growLocked makes e, which is stored, larger by n bytes.
func (s *Store) growLocked(e *Entry, n int64) {
	e.size += n
	s.queue(e.queue).bytes += n
	s.held += n
	s.used += n
}
