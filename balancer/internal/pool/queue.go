package pool

import (
	"container/list"
	"context"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// Limits bounds what members have in hand.
type Limits struct {
	InFlight int           // at each at once, streams aside; 0: no limit
	Streams  int           // likewise, of streams
	Queue    int           // those that wait for a place; not positive: none
	Wait     time.Duration // for which each of them waits
}

// A queue holds the requests that wait for a place at a backend. Its clients have
// their turns: of each the first, in the order in which they came, then of each the
// second, and so on (start-time fair queueing; Goyal, Vin and Cheng, 1997). Once it
// is full, the last makes room for one who would stand before it. Who may not have
// a place that others may stands aside for them.
type queue struct {
	any     atomic.Int64 // of those that wait, how many take any place
	mu      sync.Mutex
	waiters list.List              // guarded by mu, of *waiter, in the order of their turns
	by      map[netip.Addr]*queued // guarded by mu: who has something in it, of those that are known
	now     int                    // guarded by mu: the latest turn that came
}

// queued is what a client has in the queue.
type queued struct{ waits, last int } // how many, and the turn of the newest

// A waiter is one that waits.
type waiter struct {
	client netip.Addr
	turn   int
	woken  chan struct{} // with room for one
	out    chan struct{} // closed when it must make room
	called bool          // guarded by the queue's mu: it has been woken and has not tried yet
	gone   bool          // guarded by the queue's mu: it has been taken out
	aside  bool          // guarded by the queue's mu: it waits for its own backend, or its own share
	may    func() bool   // reports whether one that stands aside may have a place now; takes no lock
}

// wake lets the first who waits and may have a place try. Who stands aside is not
// woken in vain, which one client's waiting requests would make each end of
// another's pay for.
func (q *queue) wake() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.wakeLocked(q.waiters.Front(), false)
}

// wakeLocked begins at el, which may be nil; with asideOnly, at the first behind it
// that stands aside.
func (q *queue) wakeLocked(el *list.Element, asideOnly bool) {
	for ; el != nil; el = el.Next() {
		w := el.Value.(*waiter)
		if w.aside && !w.may() || asideOnly && !w.aside {
			continue
		}
		w.called = true
		select {
		case w.woken <- struct{}{}:
		default: // it has been before
		}
		return
	}
}

func (q *queue) len() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.waiters.Len()
}

// counted returns how many clients have something in the queue.
func (q *queue) counted() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.by)
}

// before returns how many wait whom a newcomer must not overtake.
func (q *queue) before() int { return int(q.any.Load()) }

// turnLocked returns the turn of a client's next. One that nobody knows is a client
// of its own.
func (q *queue) turnLocked(client netip.Addr) int {
	if c := q.by[client]; c != nil {
		return max(q.now, c.last+1)
	}
	return q.now
}

// roomLocked reports whether there is room for one of that turn, or will be once
// the last has gone.
func (q *queue) roomLocked(limit Limits, turn int) (last *waiter, ok bool) {
	if limit.Queue <= 0 {
		return nil, false
	}
	if q.waiters.Len() < limit.Queue {
		return nil, true
	}
	last = q.waiters.Back().Value.(*waiter)
	return last, turn < last.turn
}

// admits reports whether the queue would take a request.
func (q *queue) admits(limit Limits, client netip.Addr) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	_, ok := q.roomLocked(limit, q.turnLocked(client))
	return ok
}

// enter puts one who waits where its turn is, or returns nil if there is no room. It
// may try at once unless one before it has been called: what is free is for that
// one, and then for those behind it.
func (q *queue) enter(limit Limits, client netip.Addr, may func() bool) (el *list.Element, first bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	turn := q.turnLocked(client)
	last, ok := q.roomLocked(limit, turn)
	if !ok {
		return nil, false
	}
	if last != nil {
		q.removeLocked(q.waiters.Back())
		close(last.out)
	}
	q.any.Add(1)
	if client.IsValid() {
		c := q.by[client]
		if c == nil {
			if q.by == nil {
				q.by = make(map[netip.Addr]*queued)
			}
			c = new(queued)
			q.by[client] = c
		}
		c.waits++
		c.last = turn
	}
	w := &waiter{client: client, turn: turn, woken: make(chan struct{}, 1), out: make(chan struct{}), may: may}
	before := q.waiters.Back()
	for before != nil && before.Value.(*waiter).turn > turn {
		before = before.Prev()
	}
	if before == nil {
		return q.waiters.PushFront(w), true
	}
	el = q.waiters.InsertAfter(w, before)
	for before != nil && !before.Value.(*waiter).called {
		before = before.Prev()
	}
	return el, before == nil
}

func (q *queue) removeLocked(el *list.Element) {
	w := el.Value.(*waiter)
	w.gone = true
	if !w.aside {
		q.any.Add(-1)
	}
	if c := q.by[w.client]; c != nil {
		if c.last == w.turn {
			c.last--
		}
		if c.waits--; c.waits == 0 {
			delete(q.by, w.client)
		}
	}
	q.waiters.Remove(el)
}

// leave removes el from the queue; if it was served, its turn has come, or that of
// the first of those who take any place: who has a place of its own sooner brings
// nobody else's later turns forward. The call that woke it may serve another too.
func (q *queue) leave(el *list.Element, served bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	w, next := el.Value.(*waiter), el.Next()
	if w.gone {
		next = q.waiters.Front() // it has been woken, perhaps, when it had to go
	} else {
		q.removeLocked(el)
	}
	if served {
		turn := w.turn
		for e := q.waiters.Front(); e != nil; e = e.Next() {
			if o := e.Value.(*waiter); !o.aside {
				turn = min(turn, o.turn)
				break
			}
		}
		q.now = max(q.now, turn)
	}
	if q.waiters.Len() == 0 {
		q.now = 0
	}
	q.wakeLocked(next, false)
}

// stay takes note of why el goes on waiting. If it was woken, what came free was
// not for it, and the next may want it; with ErrBusy, only who waits for something
// of its own: there is no place for anybody else, and each who tried for one out of
// its turn might have what comes free meanwhile.
func (q *queue) stay(el *list.Element, why error, woken bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	w := el.Value.(*waiter)
	if w.gone {
		return
	}
	w.called = len(w.woken) > 0 // while it tried
	if aside := why == ErrShare || why == errBound; w.aside != aside {
		w.aside = aside
		q.any.Add(map[bool]int64{true: -1, false: 1}[aside])
	}
	if woken {
		q.wakeLocked(el.Next(), why == ErrBusy)
	}
}

// wait calls try, now or in turn and each time a place came free, until it returns
// no error that is worth a wait. ErrShare and errBound mean that the caller waits for
// something of its own: may says, without a lock, whether that may have come.
func (q *queue) wait(ctx context.Context, closing <-chan struct{}, limit Limits, client netip.Addr, may func() bool, try func() error) error {
	el, first := q.enter(limit, client, may)
	if el == nil {
		return ErrBusy
	}
	served := false
	defer func() { q.leave(el, served) }()
	w := el.Value.(*waiter)
	timer := time.NewTimer(limit.Wait)
	defer timer.Stop()
	err := ErrBusy
	for woken := false; ; woken = true {
		if first || woken {
			select {
			case <-w.out: // its turn was not yet
				return ErrShare
			default:
			}
			if err = try(); !worthAWait(err) {
				served = true
				return nil
			}
			q.stay(el, err, woken)
		}
		select {
		case <-w.woken:
		case <-w.out:
			return ErrShare
		case <-timer.C:
			return err
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-closing:
			return ErrClosed
		}
	}
}
