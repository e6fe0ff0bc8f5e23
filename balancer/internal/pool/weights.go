package pool

import (
	"slices"
	"sync/atomic"
	"time"
)

// weights are those of candidates as they were at one moment, in an order in which few
// of them need to be looked at.
type weights struct {
	at      atomic.Int64 // when they were last found to be so, in ns
	version uint64       // of the set's weights, before they were read
	hash    []uint64     // of each candidate's name
	weight  []float64    // of each
	total   float64
	classes []class // of equal weight
	class   []int   // of each candidate, its class
}

// A class is the candidates of one weight.
type class struct {
	weight float64
	index  []int    // of each, in order
	hash   []uint64 // likewise
}

// weigh returns the candidates' weights now.
func weigh(c Candidates) *weights {
	n := c.Len()
	s := &weights{hash: make([]uint64, n), weight: make([]float64, n), class: make([]int, n)}
	s.at.Store(c.Now.UnixNano())
	known := make(map[float64]int)
	for i := range n {
		h, w := c.hash(i), c.weight(i)
		s.hash[i], s.weight[i] = h, w
		s.total += w
		k, ok := known[w]
		if !ok {
			k = len(s.classes)
			known[w] = k
			s.classes = append(s.classes, class{weight: w})
		}
		s.class[i] = k
		of := &s.classes[k]
		of.index, of.hash = append(of.index, i), append(of.hash, h)
	}
	return s
}

// A weighing is the weights of those who serve by a snapshot.
type weighing struct {
	version *atomic.Uint64 // of the set's weights, which are looked at anew if it has changed
	latest  atomic.Pointer[weights]

	requests, streams tally // of those who want no stream, and of those who do
}

// A tally is what all who serve have in hand, as it was last counted.
type tally struct {
	due    atomic.Int64 // picks until it is counted anew
	inHand atomic.Int64
}

// weighEvery is how long they hold, for slow starts change them all the time, and what
// was reported or asked for ends.
const weighEvery = 250 * time.Millisecond

// weights returns those of c, all who serve, now. They are the same object as long as
// they are the same.
func (w *weighing) weights(c Candidates) *weights {
	old, version := w.latest.Load(), w.version.Load()
	if old != nil && old.version == version {
		at, now := old.at.Load(), c.Now.UnixNano()
		if now-at < int64(weighEvery) || !old.at.CompareAndSwap(at, now) {
			return old
		}
	}
	s := weigh(c)
	if s.version = version; old != nil && old.version == version && slices.Equal(s.weight, old.weight) {
		return old
	}
	w.latest.CompareAndSwap(old, s) // or another was faster
	return w.latest.Load()
}

// load returns how much c, all who serve, have in hand. It is counted anew after a
// quarter as many picks: so much it may have grown since, and whatever has ended counts
// until then.
func (w *weighing) load(c Candidates) float64 {
	t := &w.requests
	if c.stream {
		t = &w.streams
	}
	if t.due.Add(-1) < 0 {
		n := 0
		for i := range c.List {
			n += c.inFlight(i)
		}
		t.inHand.Store(int64(n))
		t.due.Store(int64(len(c.List) / 4))
	}
	return float64(t.inHand.Load())
}
