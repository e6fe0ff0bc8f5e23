package esi

import (
	"hash/maphash"
	"net/http"
	"sync/atomic"
)

// marks remember which paths had answers that were composed. Two that fall into one
// slot push each other out, which costs a repeated request now and then.
type marks [1 << 12]atomic.Uint64

func (m *marks) has(k uint64) bool { return m[k%uint64(len(m))].Load() == k }

func (m *marks) set(k uint64) {
	if !m.has(k) {
		m[k%uint64(len(m))].Store(k)
	}
}

func (m *marks) clear(k uint64) { m[k%uint64(len(m))].CompareAndSwap(k, 0) }

// markOf returns the mark of what r asks for: of all queries alike.
func (p *Processor) markOf(r *http.Request) uint64 {
	return (maphash.String(p.seed, r.Host)*31 + maphash.String(p.seed, r.URL.Path)) | 1 // 0 is no mark
}
