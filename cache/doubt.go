package cache

import (
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/foretier/foretier/cache/internal/law"
	"github.com/foretier/foretier/cache/internal/memory"
)

// cutOff is for how long a cache may hear nothing of the feed before it doubts what
// it holds, and so the longest for which anybody serves as fresh what another has
// invalidated. What it gets meanwhile it doubts too, and does not ask for again for as
// long.
const cutOff = 10 * time.Second

const (
	// tick is the unit of [memory.Entry.Asked].
	tick = 10 * time.Millisecond
	// restored is when what a snapshot had was asked for: a tick before the cache was
	// made, and so before any gap.
	restored = math.MaxUint32
)

// A doubt says which stored responses may have been invalidated without this cache
// having been told. Times are since the cache was made, by a clock that nobody sets.
type doubt struct {
	began time.Time
	known atomic.Int64 // up to when all invalidations are known; see follower.heard
	gap   atomic.Int64 // what was asked for before may have been invalidated
}

// newDoubt returns a doubt of everything, until something is heard.
func newDoubt() *doubt {
	d := &doubt{began: time.Now()}
	d.known.Store(-int64(cutOff) - 1)
	d.gap.Store(-int64(tick))
	return d
}

func (d *doubt) since(now time.Time) time.Duration { return now.Sub(d.began) }

// cut reports whether the cache is cut off from the feed.
func (d *doubt) cut(now time.Time) bool {
	return d.since(now)-time.Duration(d.known.Load()) > cutOff
}

// use weakens what a response that is fresh by its own lifetime may be used for. One
// that is in doubt may be served, since its backend has said so, and its refresh may
// take its time: neither that it is fetched by all at once, nor that a GET fails whose
// answer is at hand, would be any better. But a gap comes and is over, and there is
// somebody who may know; so for grace only.
func (d *doubt) use(asked uint32, now time.Time, grace time.Duration) law.Use {
	switch {
	case d.cut(now):
		return law.Grace
	case d.sure(asked, now):
		return law.Fresh
	case d.since(now)-time.Duration(d.gap.Load()) < grace:
		return law.Grace
	}
	return law.Sick
}

// sure reports whether all is known that has invalidated what was asked for then, up to
// what has been applied.
func (d *doubt) sure(asked uint32, now time.Time) bool {
	return d.since(now).Truncate(tick)-d.age(asked, now) >= time.Duration(d.gap.Load())
}

// age returns for how long ago something was asked for, rounded up. Ticks begin anew
// after 497 days.
func (d *doubt) age(asked uint32, now time.Time) time.Duration {
	return time.Duration(d.ticks(now)-asked) * tick
}

// ticks returns the time in ticks, rounded down.
func (d *doubt) ticks(t time.Time) uint32 { return uint32(max(0, d.since(t)) / tick) }

// doubted says what e, fresh by its own lifetime, may be used for. There is a feed.
func (c *Cache) doubted(e *memory.Entry, now time.Time) law.Use {
	use := c.follower.doubt.use(e.Asked, now, c.opts.Grace)
	if use == law.Grace && e.Flags&memory.Part != 0 {
		return law.Fresh // there is no refresh of a part
	}
	return use
}

// cutOff reports whether the cache is cut off from its feed.
func (c *Cache) cutOff() bool { return c.follower != nil && c.follower.doubt.cut(time.Now()) }

// affords reports whether e, which is served though it is stale or in doubt, may be
// refreshed: not if that is only for want of the feed, and too many others are.
func (c *Cache) affords(e *memory.Entry, now time.Time) bool {
	f := c.follower
	if f == nil || !f.doubt.cut(now) || now.UnixNano() >= e.FreshUntil || e.Purged() != 0 {
		return true
	}
	return f.doubt.age(e.Asked, now) > cutOff && e.RefreshDue(now) && f.budget.take(f.doubt.since(now))
}

// A budget bounds the fetches that a cache makes since it is cut off: three for four
// that it made before, so that with those that it would make anyway there are never
// twice as many.
type budget struct {
	next     atomic.Int64 // when there may be another
	interval atomic.Int64

	mu      sync.Mutex
	samples [60]uint64 // guarded by mu: how many fetches there were in all, each second
	n       int        // guarded by mu: how many samples were taken
}

const longestInterval = 4 * time.Second

// sample notes, each second that the cache is not cut off, how many fetches there
// have been.
func (b *budget) sample(fetches uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	size := len(b.samples)
	last := min(b.n, size)
	var first uint64
	if b.n >= size {
		first = b.samples[b.n%size]
	} else if b.n > 0 {
		first = b.samples[0]
	}
	b.samples[b.n%size] = fetches
	b.n++
	b.interval.Store(int64(longestInterval))
	if made := fetches - first; last > 0 && made > 0 {
		seconds := time.Duration(last) * time.Second
		b.interval.Store(int64(min(longestInterval, seconds*4/3/time.Duration(made))))
	}
}

// take reports whether there may be one more fetch; of those that were not made for a
// second some may be made up for.
func (b *budget) take(at time.Duration) bool {
	interval := time.Duration(b.interval.Load())
	if interval == 0 {
		interval = longestInterval
	}
	for {
		next := b.next.Load()
		if at < time.Duration(next) {
			return false
		}
		if b.next.CompareAndSwap(next, int64(max(time.Duration(next), at-time.Second)+interval)) {
			return true
		}
	}
}
