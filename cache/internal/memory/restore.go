package memory

import "slices"

// A Heat is how much a stored response is asked for, as far as the eviction knows. It
// is the same in every store.
type Heat uint8

const (
	inMainHeat Heat = 4 // has come back; below are the times that it was asked for since
	heats           = 2 * inMainHeat
)

// Heat returns that of e.
func (s *Store) Heat(e *Entry) Heat {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.heatLocked(e)
}

func (s *Store) heatLocked(e *Entry) Heat {
	h := Heat(min(e.freq.Load(), uint32(inMainHeat)-1))
	if e.queue == inMain {
		h += inMainHeat
	}
	return h
}

// ByHeat returns the URLs of which something is stored, those first of which one is the
// hottest. The store is never locked for long.
func (s *Store) ByHeat() []string {
	var byHeat [heats][]string
	total := 0
	for i := range s.shards {
		sh := &s.shards[i]
		s.mu.Lock()
		sh.mu.RLock()
		for url, e := range sh.urls {
			hottest := Heat(0)
			for ; e != nil; e = e.next {
				hottest = max(hottest, s.heatLocked(e))
			}
			byHeat[hottest] = append(byHeat[hottest], url)
		}
		total += len(sh.urls)
		sh.mu.RUnlock()
		s.mu.Unlock()
	}
	all := make([]string, 0, total)
	for h := len(byHeat) - 1; h >= 0; h-- {
		all = append(all, byHeat[h]...)
	}
	return all
}

// Chain returns what is stored under a URL, the oldest first, which is how it is to be
// added again. The caller must call Release for each.
func (s *Store) Chain(url string) []*Entry {
	sh := s.shard([]byte(url))
	sh.mu.RLock()
	defer sh.mu.RUnlock()
	var chain []*Entry
	for e := sh.urls[url]; e != nil; e = e.next {
		e.refs.Add(1)
		chain = append(chain, e)
	}
	slices.Reverse(chain)
	return chain
}

// Restore adds e, which had a heat in another store, unless something is stored that
// has its key, or it is not valid, or there is no room: nothing makes room for it. full
// reports that.
func (s *Store) Restore(e *Entry, h Heat, same func(*Entry) bool, valid func() bool) (stored, full bool) {
	s.mu.Lock()
	full = s.used+e.cost() > s.max
	s.mu.Unlock()
	if full {
		return false, true
	}
	if h >= inMainHeat {
		e.freq.Store(1) // so that it goes to the main queue
	}
	there := false
	stored = s.Add(e, 0, func(old *Entry) bool {
		there = there || same(old)
		return false
	}, func() bool { return !there && valid() })
	if stored {
		e.freq.Store(uint32(h % inMainHeat))
	}
	return stored, false
}
