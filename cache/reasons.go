package cache

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"sync"
)

// maxReasons is how many reasons are counted apart: an operator's rule may say
// whatever it wants.
const maxReasons = 64

// reasons counts why responses were not stored. Its methods are safe for concurrent
// use.
type reasons struct {
	mu     sync.Mutex
	counts map[string]uint64 // guarded by mu
}

// count counts one of a reason.
func (s *reasons) count(why string) {
	why = cmp.Or(strings.ToValidUTF8(why, "?"), "by rule")
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, known := s.counts[why]; !known && len(s.counts) >= maxReasons {
		why = "other"
	}
	if s.counts == nil {
		s.counts = make(map[string]uint64)
	}
	s.counts[why]++
}

// each returns the reasons in order, and how many there were of each.
func (s *reasons) each() (list []string, counts map[string]uint64) {
	s.mu.Lock()
	counts = maps.Clone(s.counts)
	s.mu.Unlock()
	return slices.Sorted(maps.Keys(counts)), counts
}
