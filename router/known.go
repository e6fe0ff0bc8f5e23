package router

import (
	"crypto/sha256"
	"maps"
	"sync"
	"time"
)

// maxKnown is how much a known remembers.
const maxKnown = 4096

// A known remembers for a while what is known under a hash. The zero known is empty. It is
// safe for concurrent use.
type known[V any] struct {
	mu sync.Mutex
	of map[[sha256.Size]byte]until[V] // guarded by mu
}

type until[V any] struct {
	value V
	ends  time.Time
}

// find returns what is known at now.
func (k *known[V]) find(hash [sha256.Size]byte, now time.Time) (v V, ok bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if u, there := k.of[hash]; there && now.Before(u.ends) {
		return u.value, true
	}
	return v, false
}

// keep keeps v for a lifetime from now on, in place of any other if there is no room.
func (k *known[V]) keep(hash [sha256.Size]byte, v V, lifetime time.Duration, now time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.of == nil {
		k.of = make(map[[sha256.Size]byte]until[V])
	}
	if len(k.of) >= maxKnown {
		maps.DeleteFunc(k.of, func(_ [sha256.Size]byte, u until[V]) bool { return !now.Before(u.ends) })
	}
	for other := range k.of {
		if len(k.of) < maxKnown {
			break
		}
		delete(k.of, other)
	}
	k.of[hash] = until[V]{v, now.Add(lifetime)}
}
