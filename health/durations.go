package health

import (
	"sync/atomic"
	"time"
)

// Durations counts how long things took, for parts that report it by [Distribution].
// The zero value is ready, and safe for concurrent use.
type Durations struct {
	counts [len(bounds) + 1]atomic.Uint64 // not cumulative; the last: longer than all
	sum    atomic.Int64                   // in ns
}

// bounds are those of the buckets: from a page at hand to what nobody waits for.
var bounds = [...]time.Duration{
	500 * time.Microsecond, time.Millisecond, 2500 * time.Microsecond, 5 * time.Millisecond, 10 * time.Millisecond,
	25 * time.Millisecond, 50 * time.Millisecond, 100 * time.Millisecond, 250 * time.Millisecond, 500 * time.Millisecond,
	time.Second, 2500 * time.Millisecond, 5 * time.Second, 10 * time.Second, 30 * time.Second,
}

// Add counts what took d. Negative durations, of a clock that was set back, count as 0.
func (d *Durations) Add(took time.Duration) {
	i := 0
	for i < len(bounds) && took > bounds[i] {
		i++
	}
	d.counts[i].Add(1)
	d.sum.Add(int64(max(took, 0)))
}

// Count returns how many were counted.
func (d *Durations) Count() (n uint64) {
	for i := range d.counts {
		n += d.counts[i].Load()
	}
	return n
}

// Distribution returns a histogram of d in seconds, for parts that report.
func Distribution(name, help string, d *Durations, labels ...Label) Metric {
	m := Metric{Name: name, Help: help, Unit: "seconds", Kind: Histogram, Labels: labels, Value: time.Duration(d.sum.Load()).Seconds()}
	m.Buckets = make([]Bucket, len(bounds))
	for i, bound := range bounds {
		m.Count += d.counts[i].Load()
		m.Buckets[i] = Bucket{Le: bound.Seconds(), Count: m.Count}
	}
	m.Count += d.counts[len(bounds)].Load()
	return m
}
