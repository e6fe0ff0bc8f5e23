// Package fair counts by client what is held of something that all clients have
// in common, and says who holds so much that no more is due to it.
package fair

import (
	"hash/maphash"
	"net/netip"
	"sync/atomic"

	"github.com/foretier/foretier/internal/transit"
)

// ratio is how many times what is free one client may hold: alone it gets all
// but an eighth, and of fewer than eight all. Who comes then may have of the
// rest alike, and where each lets go of some now and then, all come to hold the
// same. What is left idle is never more than an eighth.
const ratio = 7

// Over reports whether who holds that much of something may have no more of it
// while no more than that is free. What is used up is nobody's fault alone.
func Over(held, free int) bool { return free > 0 && held >= ratio*free }

// Ample reports whether so much of all is free that Over is false for everybody,
// whatever each holds.
func Ample(free, all int) bool { return free*(ratio+1) > all }

// A Key stands for a client. The zero Key stands for one that nobody knows, of
// which nothing is counted.
type Key uint64

// seed is random, so that nobody can choose with whom they share a counter.
var seed = maphash.MakeSeed()

const known = 1 << 63 // so that no client's Key is zero

// Of returns the key of what counts as one client: an IPv4 address or an IPv6
// /64.
func Of(client netip.Addr) Key {
	if !client.IsValid() {
		return 0
	}
	b := transit.Network(client).As16()
	return Key(maphash.Bytes(seed, b[:])) | known
}

// At returns the key of what the client holds of one thing among several, of
// which hash tells which.
func (k Key) At(hash uint64) Key {
	if k == 0 {
		return 0
	}
	return k ^ Key(hash>>1)
}

const slots = 1 << 13

// A Table holds a count for each client. It takes no lock and does not grow: two
// clients of a few thousand have a count in common, and so a share. The zero
// Table is ready.
type Table struct{ counts [slots]atomic.Int32 }

// Count returns the count of a key, or nil for the zero Key.
func (t *Table) Count(k Key) *atomic.Int32 {
	if k == 0 {
		return nil
	}
	return &t.counts[k%slots]
}

// Held returns what stands on the count of a key.
func (t *Table) Held(k Key) int {
	if k == 0 {
		return 0
	}
	return int(t.counts[k%slots].Load())
}

// Sum returns what stands on all counts, slowly.
func (t *Table) Sum() int {
	n := 0
	for i := range t.counts {
		n += int(t.counts[i].Load())
	}
	return n
}
