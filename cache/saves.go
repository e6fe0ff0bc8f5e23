package cache

import (
	"sync/atomic"

	"github.com/foretier/foretier/cache/internal/memory"
)

const (
	maxSaves      = 1024     // that wait for the second level
	maxSavedBytes = 16 << 20 // of them, in all, and a sixteenth of what the cache may hold

	// selectingMark begins what stands, where a response would, for responses that
	// vary; no blob begins so. The fields on which they do follow.
	selectingMark = "vary "
	maxSelecting  = 1 << 10
)

// saves are what is to be told to the second level, in order, beside the requests.
type saves struct {
	queue chan parcel
	max   int64        // bytes
	bytes atomic.Int64 // of what is in it

	saved, dropped atomic.Uint64
}

// A parcel is a response to be saved, or a turn to be given back.
type parcel struct {
	entry     *memory.Entry // held
	size      int64
	applied   Position // up to which it has not been invalidated
	selecting string   // the fields on which it varies
	base, key string   // under which it is looked for, and stored
	turn      *turn
}

func (s *saves) init(room int64) {
	s.queue, s.max = make(chan parcel, maxSaves), min(maxSavedBytes, room/16)
}

// put adds p, unless there is no room.
func (s *saves) put(p parcel) bool {
	if s.bytes.Add(p.size) <= s.max {
		select {
		case s.queue <- p:
			return true
		default:
		}
	}
	s.bytes.Add(-p.size)
	return false
}

// A turn is what one of several gateways has that refreshes a response for all of them:
// the lease of its key in the second level. The methods of nil do nothing.
type turn struct {
	saves       *saves
	key, holder string
}

// end gives the turn back, once what has been stored under it is saved.
func (t *turn) end() {
	if t != nil {
		t.saves.put(parcel{turn: t}) // else it ends by itself
	}
}
