package pool

import (
	"sync/atomic"

	"github.com/foretier/foretier/balancer/internal/load"
	"github.com/foretier/foretier/internal/fair"
)

// places are those of one kind as they are to one client.
type places struct {
	table  *fair.Table // nil: nothing is counted
	who    fair.Key
	limit  int // at each backend
	stream bool
}

func (v *View) places(who fair.Key, stream bool) places {
	if stream {
		return places{v.shares.streams, who, v.Limits.Streams, true}
	}
	return places{v.shares.requests, who, v.Limits.InFlight, false}
}

// count returns the client's count at e, or nil.
func (p places) count(e *Entry) *atomic.Int32 {
	if p.table == nil {
		return nil
	}
	return p.table.Count(p.who.At(e.hash))
}

// over reports whether the client may have no more of the places that all of list
// have together. taken is how many of them it has taken for the moment, to see.
func (p places) over(list []*Entry, taken int) bool {
	if p.table == nil || p.who == 0 {
		return false
	}
	free := taken
	for _, e := range list {
		if free += p.free(e); fair.Ample(free, p.limit*len(list)) {
			return false // as nearly always
		}
	}
	return fair.Over(p.held(list)-taken, free)
}

func (p places) free(e *Entry) int {
	if p.stream {
		return max(p.limit-e.Load.Streams(), 0)
	}
	return max(p.limit-e.Load.InFlight(), 0)
}

// held returns how many of them the client has.
func (p places) held(list []*Entry) int {
	n := 0
	for _, e := range list {
		n += p.table.Held(p.who.At(e.hash))
	}
	return n
}

// overAt is over for a single backend: those who are bound to it have no other.
func (p places) overAt(e *Entry, taken int) bool {
	list := [1]*Entry{e}
	return p.over(list[:], taken)
}

// A Place is one place at a member, as it counts in all and for its client. The
// zero Place is ready for [View.Take].
type Place struct {
	load.Ticket
	count *atomic.Int32 // nil: it counts for nobody
}

// take counts a place at e that has been taken there, and reports whether it was
// due to the client: others may have been counted at the same time. use are the
// members that are used for requests.
func (h *Place) take(p places, use []*Entry, e *Entry) bool {
	if h.count = p.count(e); h.count == nil {
		return true
	}
	h.count.Add(1)
	return !p.over(use, 1) && !p.overAt(e, 1)
}

func (h *Place) give() {
	if h.count != nil {
		h.count.Add(-1)
		h.count = nil
	}
}

// Counted returns how much is counted of clients and of those who wait: nothing,
// once all has been given back.
func (v *View) Counted() int {
	n := v.queue.counted() + v.queue.before()
	for _, table := range []*fair.Table{v.shares.requests, v.shares.streams} {
		if table != nil {
			n += table.Sum()
		}
	}
	return n
}
