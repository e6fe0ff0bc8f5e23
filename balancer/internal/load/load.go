// Package load counts what a backend has in hand and how long it takes: the
// figures from which a policy picks. It takes the time as a value.
package load

import (
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/foretier/foretier/health"
)

// decay is after what time a sample counts 1/e beside the typical latency of
// the pool.
const decay = 2 * time.Second

// most is how many times the pool's 90th percentile one wait may count: an
// export must not make a backend look dead.
const most = 10

// A Load is what one backend has in hand. Readers take no lock.
type Load struct {
	// Waits are those for an answer that came.
	Waits health.Durations

	pool *Pool

	inflight atomic.Int64  // picked, body not closed yet; without the streams
	streams  atomic.Int64  // likewise, but known to be streams, which are no work
	waiting  atomic.Int64  // of these, without a response's header yet
	oldest   atomic.Int64  // start of the oldest that waits, in ns; 0: none
	latency  atomic.Uint64 // float64 bits, ns; 0: no sample yet
	last     atomic.Uint64 // float64 bits, ns: the latest sample
	samples  atomic.Int64
	sampled  atomic.Int64 // when the latest came, in ns

	mu     sync.Mutex
	work   line // guarded by mu: those that wait
	silent line // guarded by mu: likewise the streams, whose header may take its time
}

// A line is requests that wait for a response's header, oldest first.
type line struct{ head, tail *Ticket }

func (l *line) add(t *Ticket) {
	if t.prev = l.tail; t.prev != nil {
		t.prev.next = t
	} else {
		l.head = t
	}
	l.tail = t
}

func (l *line) remove(t *Ticket) {
	if t.prev != nil {
		t.prev.next = t.next
	} else {
		l.head = t.next
	}
	if t.next != nil {
		t.next.prev = t.prev
	} else {
		l.tail = t.prev
	}
	t.prev, t.next = nil, nil
}

// New returns the load of a backend in pool.
func New(pool *Pool) *Load { return &Load{pool: pool} }

// A Ticket is one request in hand. Its zero value is ready for [Load.Start].
type Ticket struct {
	Owner any // whose it is: see [Load.EachOwner]

	load       *Load
	start      int64
	stream     bool    // it counts as one
	prev, next *Ticket // guarded by load.mu
	waits      bool    // guarded by load.mu
}

// Start counts a request, from its pick on. t must not be in use.
func (l *Load) Start(t *Ticket, now time.Time) {
	l.inflight.Add(1)
	l.line(t, now, false)
}

// TryStart counts a request if fewer than limit are in hand, and reports
// whether it did. limit of 0 is none.
func (l *Load) TryStart(t *Ticket, now time.Time, limit int) bool {
	if !below(&l.inflight, limit) {
		return false
	}
	l.line(t, now, false)
	return true
}

// TryStream counts a request that is a stream from the start: of its wait for a
// header nothing is to be learned. limit of 0 is none.
func (l *Load) TryStream(t *Ticket, now time.Time, limit int) bool {
	if !below(&l.streams, limit) {
		return false
	}
	l.line(t, now, true)
	return true
}

// Stream says that a request in hand has turned out to be a stream. It reports
// whether there is a place for one more: if not, the request counts as before.
func (t *Ticket) Stream(limit int) bool {
	if t.stream {
		return true
	}
	if !below(&t.load.streams, limit) {
		return false
	}
	t.leave()
	t.stream = true
	t.load.inflight.Add(-1)
	return true
}

// below adds one to n if it is less than limit, and reports whether it was.
func below(n *atomic.Int64, limit int) bool {
	for {
		was := n.Load()
		if limit > 0 && was >= int64(limit) {
			return false
		}
		if n.CompareAndSwap(was, was+1) {
			return true
		}
	}
}

// line puts t at the end of those that wait.
func (l *Load) line(t *Ticket, now time.Time, stream bool) {
	*t = Ticket{Owner: t.Owner, load: l, start: now.UnixNano(), stream: stream, waits: true}
	l.mu.Lock()
	defer l.mu.Unlock()
	if stream {
		l.silent.add(t)
		return
	}
	l.waiting.Add(1)
	l.work.add(t)
	if l.work.head == t {
		l.oldest.Store(t.start)
	}
}

// Header says that the response's header came, or that none will: the wait is
// over. bad takes the wait for a slow one, however fast it failed, so that a
// backend which fails at once does not look like the fastest. It may be called
// more than once; the first call counts.
func (t *Ticket) Header(now time.Time, bad bool) {
	l := t.load
	if !t.leave() || t.stream {
		return
	}
	d := float64(max(now.UnixNano()-t.start, 1))
	p90 := float64(l.pool.P90())
	if bad {
		d = max(d, most*p90)
	} else {
		l.pool.sample(now.UnixNano(), d)
		l.Waits.Add(time.Duration(d))
	}
	l.sample(now.UnixNano(), min(d, most*p90), bad)
}

// Broke says that the response broke off behind its header, before anybody has
// seen it: what Header took for a good wait was a bad one.
func (t *Ticket) Broke(now time.Time) {
	t.load.sample(now.UnixNano(), most*float64(t.load.pool.P90()), true)
}

// Pardon ends the wait with an answer that says nothing of how long one takes
// here: a failure that may be the client's own. It makes nobody look slow, nor
// fast, nor like one that nobody has tried.
func (t *Ticket) Pardon(now time.Time) {
	l := t.load
	if t.leave() && !t.stream && l.samples.Load() == 0 {
		l.sample(now.UnixNano(), float64(l.pool.Median()), false)
	}
}

// Leave ends the wait and learns nothing from it: the client went away.
func (t *Ticket) Leave() { t.leave() }

func (t *Ticket) leave() bool {
	l := t.load
	l.mu.Lock()
	defer l.mu.Unlock()
	if !t.waits {
		return false
	}
	t.waits = false
	if t.stream {
		l.silent.remove(t)
		return true
	}
	l.work.remove(t)
	if l.work.head != nil {
		l.oldest.Store(l.work.head.start)
	} else {
		l.oldest.Store(0)
	}
	l.waiting.Add(-1)
	return true
}

// Done ends the count: the body has been closed.
func (t *Ticket) Done() {
	t.leave()
	if t.stream {
		t.load.streams.Add(-1)
		return
	}
	t.load.inflight.Add(-1)
}

// trusted is after how many samples peaks are believed. The first request to a PHP
// server has it compile the page, and says nothing of the next.
const trusted = 3

// sample raises the latency at once to a peak that two samples in a row agree on,
// and lets it fall with time: one slow page in between is no peak. A bad sample
// needs no second one.
func (l *Load) sample(now int64, d float64, bad bool) {
	old := math.Float64frombits(l.latency.Load())
	last := math.Float64frombits(l.last.Swap(math.Float64bits(d)))
	n := l.samples.Add(1)
	switch {
	case bad:
		l.samples.Store(max(n, trusted))
		d = max(d, old)
	case n == 1:
	case n <= trusted:
		d = min(d, old)
	default:
		if up := min(d, last); up > old {
			d = up
			break
		}
		// Even many samples at one moment must move it.
		w := min(weight(now-l.sampled.Load()), 0.9)
		d = old*w + min(d, old)*(1-w)
	}
	l.latency.Store(math.Float64bits(d))
	l.sampled.Store(now)
}

// weight is how much a sample of that age still counts.
func weight(age int64) float64 {
	return math.Exp(-float64(max(age, 0)) / float64(decay))
}

// EachOwner calls f with each whose request waits for a header, which must neither wait nor
// ask for anything of l. As long as f runs the request goes on waiting: its place is given
// back later.
func (l *Load) EachOwner(f func(owner any)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, line := range [...]line{l.work, l.silent} {
		for t := line.head; t != nil; t = t.next {
			f(t.Owner)
		}
	}
}

// InFlight returns how many requests it has in hand, from pick to closed body,
// without the streams.
func (l *Load) InFlight() int { return int(l.inflight.Load()) }

// Streams returns how many streams it has in hand.
func (l *Load) Streams() int { return int(l.streams.Load()) }

// Waiting returns how many of them have no header yet.
func (l *Load) Waiting() int { return int(l.waiting.Load()) }

// Latency returns the time to the header to expect: the peak of the latest
// samples, which tends to the pool's typical one while no new sample comes.
// Before there are enough of them it is the typical one, if that is less.
// Without any it is 0 for one request, which shall find out.
func (l *Load) Latency(now time.Time) time.Duration {
	n := l.samples.Load()
	if n == 0 && l.inflight.Load() == 0 {
		return 0
	}
	own := math.Float64frombits(l.latency.Load())
	typical := float64(l.pool.Median())
	switch {
	case n == 0:
		return time.Duration(typical)
	case n < trusted:
		return time.Duration(min(own, typical))
	}
	w := weight(now.UnixNano() - l.sampled.Load())
	return time.Duration(own*w + typical*(1-w))
}

// Oldest returns the age of the oldest request that waits for its header, at
// most ten times the pool's 90th percentile.
func (l *Load) Oldest(now time.Time) time.Duration {
	start := l.oldest.Load()
	if start == 0 {
		return 0
	}
	return min(time.Duration(max(now.UnixNano()-start, 0)), most*l.pool.P90())
}
