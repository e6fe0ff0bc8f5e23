package load

import (
	"math"
	"math/bits"
	"sync"
	"sync/atomic"
	"time"
)

// turn is after what time the quantiles are computed anew; of the first samples,
// fewest of them, each does so.
const (
	turn   = 100 * time.Millisecond
	fewest = 16
)

// A Pool is what the loads of one pool share: what is typical of it. Its zero
// value is ready for use and expects 10 ms until it knows better.
type Pool struct {
	count  [steps * 64]atomic.Uint32 // a histogram in steps of an octave
	total  atomic.Int64
	turned atomic.Int64
	median atomic.Int64
	p90    atomic.Int64
	mu     sync.Mutex // serializes turns
}

// steps is into how many steps an octave is divided: two samples in one step
// differ by at most a quarter.
const steps = 4

func step(ns uint64) int {
	if ns < steps {
		return int(ns)
	}
	n := bits.Len64(ns) - 1
	return n*steps + int(ns>>(n-2))&(steps-1)
}

func stepValue(i int) int64 {
	n := i / steps
	if n < 2 {
		return int64(i)
	}
	return int64(1)<<n + int64(i%steps)<<(n-2)
}

func (p *Pool) sample(now int64, d float64) {
	p.count[step(uint64(d))].Add(1)
	n := p.total.Add(1)
	if (n <= fewest || now-p.turned.Load() > int64(turn)) && p.mu.TryLock() {
		p.turnLocked(now)
		p.mu.Unlock()
	}
}

// turnLocked computes the quantiles and halves the counts once they are many, so
// that the newest thousand samples or so decide.
func (p *Pool) turnLocked(now int64) {
	p.turned.Store(now)
	var count [len(p.count)]uint32
	total := int64(0)
	for i := range p.count {
		count[i] = p.count[i].Load()
		total += int64(count[i])
	}
	seen, median, p90 := int64(0), int64(0), int64(0)
	for i, n := range count {
		seen += int64(n)
		if median == 0 && 2*seen >= total {
			median = stepValue(i)
		}
		if 10*seen >= 9*total {
			p90 = stepValue(i)
			break
		}
	}
	p.median.Store(max(median, 1))
	if total >= fewest {
		p.p90.Store(max(p90, 1))
	}
	if total > 1000 {
		left := int64(0)
		for i, n := range count {
			if n > 0 {
				p.count[i].Add(-(n - n/2)) // wraps: a subtraction
				left += int64(n / 2)
			}
		}
		p.total.Store(left)
	}
}

// Median returns the pool's median time to a header.
func (p *Pool) Median() time.Duration { return orElse(p.median.Load(), 10*time.Millisecond) }

// P90 returns the pool's 90th percentile of the time to a header.
func (p *Pool) P90() time.Duration { return orElse(p.p90.Load(), time.Second) }

func orElse(ns int64, unknown time.Duration) time.Duration {
	if ns == 0 {
		return unknown
	}
	return time.Duration(min(ns, math.MaxInt64/16))
}
