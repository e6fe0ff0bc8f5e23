package balancer

import (
	"sync/atomic"
	"time"
)

// A budget bounds the retries to a share of the requests, over the last ten
// seconds: a pool that is sick for longer is not given much more work, and yet
// the requests which one crash cuts off at one moment are all tried again.
type budget struct{ requests, retries window }

// budgetFor is the time over which the share is taken.
const budgetFor = 10

// spend counts a retry and reports whether the requests allow one more; if not, it
// is not counted.
func (b *budget) spend(now time.Time, r Retries) bool {
	sec := now.Unix()
	n := b.retries.add(sec)
	if r.Budget < 0 || float64(n) <= r.Budget*float64(b.requests.sum(sec))+float64(max(r.Min, 0)*budgetFor) {
		return true
	}
	b.retries.undo(sec)
	return false
}

// A window counts what happened in each of the latest seconds. Around the turn
// of a second it may miss a few.
type window struct {
	slots [budgetFor]struct{ second, count atomic.Int64 }
}

// add counts one and returns the sum.
func (w *window) add(second int64) int64 {
	s := &w.slots[second%budgetFor]
	if old := s.second.Load(); old != second && s.second.CompareAndSwap(old, second) {
		s.count.Store(0)
	}
	s.count.Add(1)
	return w.sum(second)
}

// undo counts one less, of those that add has counted.
func (w *window) undo(second int64) { w.slots[second%budgetFor].count.Add(-1) }

func (w *window) sum(second int64) int64 {
	n := int64(0)
	for i := range w.slots {
		if w.slots[i].second.Load() > second-budgetFor {
			n += w.slots[i].count.Load()
		}
	}
	return n
}
