package balancer

import (
	"fmt"
	"sync/atomic"

	"github.com/foretier/foretier/internal/fair"
)

var (
	// errShare means that there are places and none for this client, which holds
	// so many that the rest is kept for others.
	errShare = fmt.Errorf("%w: with this client's own requests", ErrBusy)
	// errStreamShare is the same of streams, for which nobody waits.
	errStreamShare = fmt.Errorf("%w: with this client's own streams", ErrBusy)
	// errBound means that the one backend that will do has no place.
	errBound = fmt.Errorf("%w: the one that the client is bound to", ErrBusy)
)

// worthAWait reports whether err may be over soon.
func worthAWait(err error) bool { return err == ErrBusy || err == errShare || err == errBound }

// shares counts what each client holds of each backend's places, for a pool and
// all its excerpts. What has no limit is not counted.
type shares struct{ requests, streams *fair.Table }

func newShares(l Limit) (s shares) {
	if l.InFlight > 0 {
		s.requests = new(fair.Table)
	}
	if l.Streams > 0 {
		s.streams = new(fair.Table)
	}
	return s
}

// places are those of one kind as they are to one client.
type places struct {
	table  *fair.Table // nil: nothing is counted
	who    fair.Key
	limit  int // at each backend
	stream bool
}

func (p *Pool) places(who fair.Key, stream bool) places {
	if stream {
		return places{p.shares.streams, who, p.opts.Limit.Streams, true}
	}
	return places{p.shares.requests, who, p.opts.Limit.InFlight, false}
}

// count returns the client's count at e, or nil.
func (p places) count(e *entry) *atomic.Int32 {
	if p.table == nil {
		return nil
	}
	return p.table.Count(p.who.At(e.hash))
}

// over reports whether the client may have no more of the places that all of list
// have together. taken is how many of them it has taken for the moment, to see.
func (p places) over(list []*entry, taken int) bool {
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

func (p places) free(e *entry) int {
	if p.stream {
		return max(p.limit-e.load.Streams(), 0)
	}
	return max(p.limit-e.load.InFlight(), 0)
}

// held returns how many of them the client has.
func (p places) held(list []*entry) int {
	n := 0
	for _, e := range list {
		n += p.table.Held(p.who.At(e.hash))
	}
	return n
}

// overAt is over for a single backend: those who are bound to it have no other.
func (p places) overAt(e *entry, taken int) bool {
	list := [1]*entry{e}
	return p.over(list[:], taken)
}

// A holding is one place as it counts for its client. The zero holding is none.
type holding struct{ count *atomic.Int32 }

// take counts a place at e that has been taken there, and reports whether it was
// due to the client: others may have been counted at the same time. use are the
// backends that are used for requests.
func (h *holding) take(p places, use []*entry, e *entry) bool {
	if h.count = p.count(e); h.count == nil {
		return true
	}
	h.count.Add(1)
	return !p.over(use, 1) && !p.overAt(e, 1)
}

func (h *holding) give() {
	if h.count != nil {
		h.count.Add(-1)
		h.count = nil
	}
}
