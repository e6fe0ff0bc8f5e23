package cache

import (
	"math"
	"slices"
	"sync"
	"sync/atomic"
)

// maxHistory is how many entries of the feed are remembered for what other gateways
// have stored.
const maxHistory = 100_000

// A history is what is known of the entries of the feed by their positions there, which
// all gateways share: a response that another has fetched is held against it as one of
// this cache's is held against its log. What has been invalidated here, and has not come
// back by the feed yet, has no position and stands behind all that have one.
type history struct {
	blind bool // it shows nothing, for a test of tests

	mu      sync.RWMutex
	from    Position // guarded by mu: all behind it is known
	records []placed // guarded by mu; in order
	own     []*own   // guarded by mu: of this cache, and not back yet
	made    uint64   // guarded by mu: how many of those there were
}

// A placed is an invalidation and its position in the feed.
type placed struct {
	at Position
	matcher
}

// An own is an invalidation of this cache's that is on its way to the feed and back.
type own struct {
	id    uint64
	order atomic.Uint64 // in which it was put into the outbox, or dropped there; zero: not yet
	matcher
}

// number returns its id, or zero of nil.
func (o *own) number() uint64 {
	if o == nil {
		return 0
	}
	return o.id
}

// newHistory returns one that knows of nothing.
func newHistory() *history { return &history{from: math.MaxUint64} }

// begin forgets what was known: from a position on all will be.
func (h *history) begin(at Position) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.from, h.records = at, nil
}

// before adds the entries behind a position up to the one from which on all is known,
// unless it is another one by now.
func (h *history) before(from Position, older []placed, upTo Position) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.from == upTo {
		h.from, h.records = from, append(older, h.records...)
	}
}

// mine notes what this cache is about to invalidate.
func (h *history) mine(m matcher) *own {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.own) >= maxLog {
		h.collapseLocked()
	}
	h.made++
	o := &own{id: h.made, matcher: m}
	h.own = append(h.own, o)
	return o
}

// collapseLocked puts one of all in the place of those that the feed is to have by now,
// and has not taken for long.
func (h *history) collapseLocked() {
	all := &own{matcher: matcher{all: true, hard: true}}
	rest := []*own{all}
	for _, o := range h.own {
		order := o.order.Load()
		if order == 0 {
			rest = append(rest, o)
		}
		all.order.Store(max(all.order.Load(), order))
	}
	h.own = rest
}

// add notes an entry of the feed. id is of what this cache has invalidated itself, else
// zero: what it put into the outbox before that, and what was dropped there, is over
// with it, for who has applied the one fetches after the others.
func (h *history) add(at Position, m matcher, id uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.records = append(h.records, placed{at, m})
	if i := slices.IndexFunc(h.own, func(o *own) bool { return id != 0 && o.id == id }); i >= 0 {
		h.backLocked(at, h.own[i])
	}
	if n := len(h.records) - maxHistory; n > 0 {
		n += maxHistory / 8 // not each time
		h.from = h.records[n-1].at
		h.records = slices.Clone(h.records[n:])
	}
}

// backLocked takes what is back from the feed out of what is on its way.
func (h *history) backLocked(at Position, back *own) {
	last := back.order.Load()
	h.own = slices.DeleteFunc(h.own, func(o *own) bool {
		order := o.order.Load()
		over := order != 0 && order <= last
		if over && o != back {
			h.records = append(h.records, placed{at, o.matcher})
		}
		return over
	})
}

// since calls f for each invalidation after at until f returns false, as [log.since]
// does. What is not known counts as a soft one of everything.
func (h *history) since(at Position, f func(*matcher) bool) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	if h.blind {
		return
	}
	if at < h.from && !f(&matcher{all: true}) {
		return
	}
	i, _ := slices.BinarySearchFunc(h.records, at, func(p placed, at Position) int {
		if p.at <= at {
			return -1
		}
		return 1
	})
	for ; i < len(h.records); i++ {
		if !f(&h.records[i].matcher) {
			return
		}
	}
	for _, o := range h.own {
		if !f(&o.matcher) {
			return
		}
	}
}
