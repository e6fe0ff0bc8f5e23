package main

import (
	"container/list"

	"github.com/foretier/foretier/cache/internal/memory"
	"github.com/maypok86/otter/v2"
)

// foretier is the store of the cache itself, with bodies of their real size:
// what it needs beyond them counts against it.
type foretier struct{ store *memory.Store }

func newForetier(bytes int64) policy { return foretier{memory.New(bytes)} }

func (f foretier) hit(r request) bool {
	e := f.store.Get([]byte(r.key), func(*memory.Entry) bool { return true })
	if e != nil {
		f.store.Release(e)
		return true
	}
	f.store.Add(&memory.Entry{URL: r.key, Body: make([]byte, r.size)}, 0,
		func(*memory.Entry) bool { return true }, func() bool { return true })
	return false
}

// lru counts bodies only.
type lru struct {
	max, used int64
	order     *list.List
	index     map[string]*list.Element
}

func newLRU(bytes int64) policy {
	return &lru{max: bytes, order: list.New(), index: make(map[string]*list.Element)}
}

func (l *lru) hit(r request) bool {
	if e := l.index[r.key]; e != nil {
		l.order.MoveToFront(e)
		return true
	}
	if int64(r.size) > l.max {
		return false
	}
	l.index[r.key] = l.order.PushFront(r)
	for l.used += int64(r.size); l.used > l.max; {
		oldest := l.order.Remove(l.order.Back()).(request)
		delete(l.index, oldest.key)
		l.used -= int64(oldest.size)
	}
	return false
}

// otterCache counts bodies only, and does its maintenance at once.
type otterCache struct{ cache *otter.Cache[string, int] }

func newOtter(bytes int64) policy {
	return otterCache{otter.Must(&otter.Options[string, int]{
		MaximumWeight: uint64(bytes),
		Weigher:       func(_ string, size int) uint32 { return uint32(size) },
		Executor:      func(f func()) { f() },
	})}
}

func (o otterCache) hit(r request) bool {
	if _, ok := o.cache.GetIfPresent(r.key); ok {
		return true
	}
	o.cache.Set(r.key, r.size)
	o.cache.CleanUp()
	return false
}
