package memory

import (
	"hash/maphash"
	"sync"
)

const shards = 256

// A Store holds entries. Its methods are safe for concurrent use.
type Store struct {
	seed   maphash.Seed
	shards [shards]shard

	mu        sync.Mutex // guards what follows; taken before a shard's
	max       int64
	used      int64 // everything: held, reserved, read after removal
	held      int64 // of entries in the queues
	count     int
	small     queue
	main      queue
	loose     queue  // read after removal, or never stored: see Hold
	given     int64  // given up, and not yet let go of; not in used
	quits     []quit // to be told as soon as mu is free
	aim       int64  // the bytes that small is to have
	leavers   ghosts // of small
	retirees  ghosts // of main
	tags      map[uint64][]*Entry
	evictions uint64
	refused   uint64
	abandoned uint64
	forms     int   // of what is stored
	formBytes int64 // that they take
}

type shard struct {
	mu   sync.RWMutex
	urls map[string]*Entry // guarded by mu

	pinning sync.Mutex // guards the pins of the shard's entries; taken last
	_       [24]byte   // a cache line each
}

// maxVariants bounds the entries of one key that differ by Vary, maxChain
// those of one URL: whoever may choose header values must not choose how long
// a lookup takes.
const (
	maxVariants = 64
	maxChain    = 256
)

// New returns an empty store of at most max bytes.
func New(max int64) *Store {
	s := &Store{seed: maphash.MakeSeed(), max: max, aim: max / smallest, tags: make(map[uint64][]*Entry)}
	for i := range s.shards {
		s.shards[i].urls = make(map[string]*Entry)
	}
	return s
}

func (s *Store) shard(url []byte) *shard {
	return &s.shards[maphash.Bytes(s.seed, url)%shards]
}

func (s *Store) shardOf(e *Entry) *shard {
	return &s.shards[maphash.String(s.seed, e.URL)%shards]
}

// Get returns the newest entry of a URL that fits, or nil. The caller must
// call Release when it has read it. fits must not call the store.
func (s *Store) Get(url []byte, fits func(*Entry) bool) *Entry {
	sh := s.shard(url)
	sh.mu.RLock()
	defer sh.mu.RUnlock()
	for e := sh.urls[string(url)]; e != nil; e = e.next {
		if fits(e) {
			e.Mark()
			e.refs.Add(1)
			return e
		}
	}
	return nil
}

// Retain lets a caller that holds e hold it once more. Of an entry that is yet
// to be added it is the first hold.
func (s *Store) Retain(e *Entry) { e.refs.Add(1) }

// TryRetain does the same for one who may not hold e, and reports whether
// anybody still does.
func (s *Store) TryRetain(e *Entry) bool {
	for {
		n := e.refs.Load()
		if n == 0 {
			return false
		}
		if e.refs.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

// Release ends the use of an entry that Get has returned.
func (s *Store) Release(e *Entry) {
	if e.refs.Add(-1) == 0 {
		s.mu.Lock()
		if e.given {
			s.given -= e.size
		} else {
			s.used -= e.size
		}
		s.moveLocked(e, nowhere)
		s.mu.Unlock()
	}
}

// Reserve takes n bytes for a running fetch and reports whether there is room;
// it evicts what is in the way. Unreserve gives them back.
func (s *Store) Reserve(n int64) bool {
	s.mu.Lock()
	defer s.unlock()
	if !s.makeRoomLocked(n) {
		s.refused++
		return false
	}
	s.used += n
	return true
}

// Unreserve gives back what Reserve took.
func (s *Store) Unreserve(n int64) {
	s.mu.Lock()
	s.used -= n
	s.mu.Unlock()
}

// Add stores e in place of what same says it replaces, and gives back reserved
// bytes; what is not stored, and held by somebody, goes on counting for as much
// until it is released. valid is asked before e takes anything's place, and last,
// with everything else settled: whatever invalidates e is either seen by valid or
// finds e in the index. Add reports whether e is stored.
func (s *Store) Add(e *Entry, reserved int64, same func(*Entry) bool, valid func() bool) bool {
	e.refs.Add(1)
	e.size = e.cost()
	s.mu.Lock()
	defer s.unlock()
	s.used -= reserved
	var gone []*Entry
	variants, chain := 0, 0
	sh := s.shardOf(e)
	sh.mu.RLock()
	for old := sh.urls[e.URL]; old != nil; old = old.next {
		if same(old) {
			gone = append(gone, old)
			continue
		}
		if old.HTTPS == e.HTTPS && old.Parts() == e.Parts() {
			variants++
		}
		if chain++; variants >= maxVariants || chain >= maxChain {
			gone = append(gone, old)
		}
	}
	sh.mu.RUnlock()
	if !valid() {
		s.refuseLocked(e, reserved)
		return false
	}
	for _, old := range gone {
		e.freq.Store(max(e.freq.Load(), old.freq.Load()))
		s.removeLocked(old)
	}
	if e.size > s.max/2 || !s.makeRoomLocked(e.size) {
		s.refused++
		s.refuseLocked(e, reserved)
		return false
	}
	if !valid() {
		s.refuseLocked(e, reserved)
		return false
	}
	s.used += e.size
	s.held += e.size
	s.count++
	s.countFormsLocked(e, 1)
	s.enqueueLocked(e)
	s.tagLocked(e)
	sh.mu.Lock()
	e.next = sh.urls[e.URL]
	sh.urls[e.URL] = e
	sh.mu.Unlock()
	for old := e.next; old != nil; old = old.next { // chains change under mu only
		s.endKeptLocked(old)
	}
	return true
}

// refuseLocked counts what was reserved for e for as long as anybody reads it.
func (s *Store) refuseLocked(e *Entry, reserved int64) {
	if e.refs.Add(-1) > 0 {
		e.size = reserved
		s.used += reserved
		s.moveLocked(e, inLoose)
	}
}

// Remove takes e out and reports whether it was still there.
func (s *Store) Remove(e *Entry) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.storedLocked(e) {
		return false
	}
	s.removeLocked(e)
	return true
}

// removeLocked takes e out of the map, its queue and the tag index. What it
// takes is given back when its last reader is done.
func (s *Store) removeLocked(e *Entry) {
	sh := s.shardOf(e)
	sh.mu.Lock()
	first := sh.urls[e.URL]
	switch {
	case first == e && e.next == nil:
		delete(sh.urls, e.URL)
	case first == e:
		// The key must not keep alive the text of an entry that is gone.
		delete(sh.urls, e.URL)
		sh.urls[e.next.URL] = e.next
	default:
		for first.next != e {
			first = first.next
		}
		first.next = e.next
	}
	e.next = nil
	sh.mu.Unlock()
	s.endKeptLocked(e)
	s.dequeueLocked(e)
	s.untagLocked(e)
	s.held -= e.size
	s.count--
	s.countFormsLocked(e, -1)
	if e.refs.Add(-1) == 0 {
		s.used -= e.size
	} else {
		s.moveLocked(e, inLoose)
	}
}

// makeRoomLocked evicts until n more bytes fit, and reports whether they do.
// Who keeps loose more than its share is given up first. While those who were
// are on their way out there may be no room, but nothing is evicted for them.
func (s *Store) makeRoomLocked(n int64) bool {
	if n > s.max {
		return false
	}
	for s.used+n > s.max {
		if s.loose.bytes > s.max/looseShare {
			if s.giveUpLocked() {
				continue
			}
			if s.given > 0 {
				return false
			}
		}
		victim := s.victimLocked()
		if victim == nil {
			return false
		}
		s.removeLocked(victim)
		s.evictions++
	}
	return true
}

// ByURL calls f for each entry of a URL, and returns how many it removed.
func (s *Store) ByURL(url string, f func(*Entry) (remove bool)) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	sh := s.shard([]byte(url))
	sh.mu.RLock()
	var found []*Entry
	for e := sh.urls[url]; e != nil; e = e.next {
		found = append(found, e)
	}
	sh.mu.RUnlock()
	return s.applyLocked(found, f)
}

// ByTag calls f for each entry that carries a tag, and returns how many it
// removed.
func (s *Store) ByTag(tag uint64, f func(*Entry) (remove bool)) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.applyLocked(append([]*Entry(nil), s.tags[tag]...), f)
}

// Tagged returns how many entries carry a tag.
func (s *Store) Tagged(tag uint64) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.tags[tag])
}

func (s *Store) applyLocked(found []*Entry, f func(*Entry) bool) (removed int) {
	for _, e := range found {
		if f(e) {
			s.removeLocked(e)
			removed++
		}
	}
	return removed
}

// Each calls f for every entry, those not necessarily whose Add asks whether they
// are valid after Each was called, and returns how many it removed. The store is
// never locked for long.
func (s *Store) Each(f func(*Entry) (remove bool)) int {
	n := 0
	// What has been found valid before is in the index once the lock is free.
	s.mu.Lock()
	batch := make([]*Entry, 0, 2*s.count/shards)
	s.mu.Unlock()
	for i := range s.shards {
		sh := &s.shards[i]
		batch = batch[:0]
		sh.mu.RLock()
		for _, e := range sh.urls {
			for ; e != nil; e = e.next {
				batch = append(batch, e)
			}
		}
		sh.mu.RUnlock()
		for _, e := range batch {
			if f(e) && s.Remove(e) {
				n++
			}
		}
	}
	return n
}

// Stats are figures of a store at one moment.
type Stats struct {
	Max, Used, Held int64 // bytes
	Count, Tags     int
	Evictions       uint64
	Refused         uint64 // reservations and entries for which there was no room
	Loose           int64  // bytes that are read, and no more or never stored
	Given           int64  // bytes that readers who are given up hold; not in Used
	Abandoned       uint64 // readers given up
	Forms           int    // of what is stored
	FormBytes       int64  // that they take
}

// Stats returns the figures.
func (s *Store) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return Stats{
		Max: s.max, Used: s.used, Held: s.held, Count: s.count, Tags: len(s.tags),
		Evictions: s.evictions, Refused: s.refused,
		Loose: s.loose.bytes, Given: s.given, Abandoned: s.abandoned,
		Forms: s.forms, FormBytes: s.formBytes,
	}
}
