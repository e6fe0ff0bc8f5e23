package cache

import (
	"sync/atomic"
	"time"
)

// markers remembers which keys were not to be stored lately, so that nobody
// waits for a fetch that serves its leader only. It is a table of fixed size:
// a key may push another out, which costs that one a wait, and two keys may
// share a print, which costs a pass.
type markers struct {
	slots [1 << 16]atomic.Uint64 // 32 bits of the key's hash, 32 bits of Unix time in deciseconds
}

func deciseconds(t time.Time) uint32 { return uint32(t.UnixMilli() / 100) }

// set marks the key for a while.
func (m *markers) set(key uint64, until time.Time) {
	m.slots[key%uint64(len(m.slots))].Store(key&^(1<<32-1) | uint64(deciseconds(until)))
}

// has reports whether the key is marked.
func (m *markers) has(key uint64, now time.Time) bool {
	slot := m.slots[key%uint64(len(m.slots))].Load()
	return slot>>32 == key>>32 && int32(uint32(slot)-deciseconds(now)) > 0
}

// clear takes the mark off.
func (m *markers) clear(key uint64) {
	slot := &m.slots[key%uint64(len(m.slots))]
	if old := slot.Load(); old>>32 == key>>32 {
		slot.CompareAndSwap(old, 0)
	}
}
