package cache

import (
	"maps"
	"math"
	"slices"
	"sort"
	"sync"
	"sync/atomic"

	"github.com/foretier/foretier/cache/internal/memory"
	"github.com/foretier/foretier/internal/fields"
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

	mu    sync.RWMutex
	from  Position          // guarded by mu: all behind it is known,
	to    Position          // guarded by mu: up to here
	at    []Position        // guarded by mu: of what is known, in order
	tags  map[tagged]latest // guarded by mu
	hosts bool              // guarded by mu: some of those are of one host only
	urls  map[string]latest // guarded by mu, by name
	rest  []placed          // guarded by mu, in order: what names neither
	own   []*own            // guarded by mu: of this cache, and not back yet
	made  uint64            // guarded by mu: how many of those there were
}

// A tagged is what an invalidation by a tag names.
type tagged struct {
	tag   uint64
	host  string // "": on every one
	ports bool
}

// A latest is where something was invalidated last, either way.
type latest struct{ soft, hard Position }

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
	h.from, h.to, h.at, h.tags, h.urls, h.rest, h.hosts = at, at, nil, nil, nil, nil, false
}

// before adds the entries behind a position up to the one from which on all is known,
// unless it is another one by now.
func (h *history) before(from Position, older []placed, upTo Position) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.from != upTo {
		return
	}
	h.from = from
	at, rest := h.at, h.rest
	h.at, h.rest = nil, nil
	for _, p := range older {
		h.noteLocked(p.at, p.matcher)
	}
	h.at, h.rest = append(h.at, at...), append(h.rest, rest...)
}

// noteLocked remembers an invalidation.
func (h *history) noteLocked(at Position, m matcher) {
	h.at = append(h.at, at)
	if h.tags == nil {
		h.tags, h.urls = make(map[tagged]latest), make(map[string]latest)
	}
	switch {
	case len(m.tags) > 0:
		h.hosts = h.hosts || m.host != ""
		for _, tag := range m.tags {
			key := tagged{tag, m.host, m.ports}
			h.tags[key] = h.tags[key].with(at, m.hard)
		}
	case m.url != "":
		h.urls[m.url] = h.urls[m.url].with(at, m.hard)
		alike := tagged{tag: family(m.url)} // which of them, nobody need know
		h.tags[alike] = h.tags[alike].with(at, m.hard)
	default:
		h.rest = append(h.rest, placed{at, m})
	}
}

// with returns l with one more.
func (l latest) with(at Position, hard bool) latest {
	if hard {
		l.hard = max(l.hard, at)
	} else {
		l.soft = max(l.soft, at)
	}
	return l
}

// after calls f for those behind a position, and reports false if f has.
func (l latest) after(at Position, f func(*matcher) bool) bool {
	return (l.soft <= at || f(&matcher{all: true})) && (l.hard <= at || f(&matcher{all: true, hard: true}))
}

// forgetLocked forgets the oldest n.
func (h *history) forgetLocked(n int) {
	h.from = h.at[n-1]
	h.at = slices.Clone(h.at[n:])
	old := func(l latest) bool { return max(l.soft, l.hard) <= h.from }
	maps.DeleteFunc(h.tags, func(_ tagged, l latest) bool { return old(l) })
	maps.DeleteFunc(h.urls, func(_ string, l latest) bool { return old(l) })
	h.rest = slices.DeleteFunc(h.rest, func(p placed) bool { return p.at <= h.from })
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
	h.noteLocked(at, m)
	h.to = at
	if i := slices.IndexFunc(h.own, func(o *own) bool { return id != 0 && o.id == id }); i >= 0 {
		h.backLocked(at, h.own[i])
	}
	if n := len(h.at) - maxHistory; n > 0 {
		h.forgetLocked(n + maxHistory/8) // not each time
	}
}

// backLocked takes what is back from the feed out of what is on its way.
func (h *history) backLocked(at Position, back *own) {
	last := back.order.Load()
	h.own = slices.DeleteFunc(h.own, func(o *own) bool {
		order := o.order.Load()
		over := order != 0 && order <= last
		if over && o != back {
			h.noteLocked(at, o.matcher)
		}
		return over
	})
}

// since calls f for invalidations after at, among them all that mean e, whose name is
// given, until f returns false. What is not known counts as a soft one of everything. So
// does all if at is still to come: it is of a gateway that is ahead for a moment, or of
// another history, which has been lost with all who knew of it.
func (h *history) since(at Position, e *memory.Entry, name string, f func(*matcher) bool) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	if h.blind || (at < h.from || at > h.to) && !f(&matcher{all: true}) {
		return
	}
	if e.More != nil && !h.tagsLocked(at, e.More.Tags, name, f) || !h.urls[name].after(at, f) {
		return
	}
	first := sort.Search(len(h.rest), func(i int) bool { return h.rest[i].at > at })
	for i := first; i < len(h.rest); i++ {
		if !f(&h.rest[i].matcher) {
			return
		}
	}
	for _, o := range h.own {
		if !f(&o.matcher) {
			return
		}
	}
}

// tagsLocked is since for what is invalidated by tags.
func (h *history) tagsLocked(at Position, tags []uint64, name string, f func(*matcher) bool) bool {
	host := name[:hostLen(name)]
	bare, _ := fields.SplitPort(host)
	for _, tag := range tags {
		if !h.tags[tagged{tag: tag}].after(at, f) {
			return false
		}
		if !h.hosts {
			continue
		}
		for _, key := range [...]tagged{{tag, host, false}, {tag, host, true}, {tag, bare, true}} {
			if !h.tags[key].after(at, f) {
				return false
			}
		}
	}
	return true
}
