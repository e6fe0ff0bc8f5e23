package pool

import (
	"container/list"
	"context"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/foretier/foretier/internal/fair"
)

// A queue holds the requests that wait for a place at a backend, first come
// first served. Who may not have a place that others may stands aside for them.
type queue struct {
	any     atomic.Int64 // of those that wait, how many take any place
	mu      sync.Mutex
	waiters list.List  // guarded by mu, of *waiter
	by      fair.Quota // of the queue's room
}

// A waiter is one that waits.
type waiter struct {
	woken chan struct{} // with room for one
	aside bool          // guarded by the queue's mu: it waits for its own backend, or its own share
	may   func() bool   // reports whether one that stands aside may have a place now; takes no lock
}

// wake lets the first who waits and may have a place try. Who stands aside is not
// woken in vain, which one client's waiting requests would make each end of
// another's pay for.
func (q *queue) wake() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.wakeLocked(q.waiters.Front())
}

// wakeLocked begins at el, which may be nil.
func (q *queue) wakeLocked(el *list.Element) {
	for ; el != nil; el = el.Next() {
		w := el.Value.(*waiter)
		if w.aside && !w.may() {
			continue
		}
		select {
		case w.woken <- struct{}{}:
		default: // it has been woken and has not tried yet
		}
		return
	}
}

func (q *queue) len() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.waiters.Len()
}

// before returns how many wait whom a newcomer must not overtake.
func (q *queue) before() int { return int(q.any.Load()) }

// admitLocked takes room for one more of a client's, or returns why there is none:
// a client's may be no more than are left free, which alone is half of all.
func (q *queue) admitLocked(limit Limits, client netip.Addr) error {
	left := limit.Queue - q.waiters.Len()
	if left <= 0 {
		return ErrBusy
	}
	if !q.by.Take(client, 1, int64(limit.Queue), int64(left)) {
		return ErrShare
	}
	return nil
}

// admits returns why the queue would not take a request, or nil.
func (q *queue) admits(limit Limits, client netip.Addr) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if err := q.admitLocked(limit, client); err != nil {
		return err
	}
	q.by.Give(client, 1)
	return nil
}

// enter puts one who waits at the end, if there is room.
func (q *queue) enter(limit Limits, client netip.Addr, may func() bool) (*list.Element, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if err := q.admitLocked(limit, client); err != nil {
		return nil, err
	}
	q.any.Add(1)
	return q.waiters.PushBack(&waiter{woken: make(chan struct{}, 1), may: may}), nil
}

// leave takes el out. The call that woke it may serve another too.
func (q *queue) leave(el *list.Element, client netip.Addr) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !el.Value.(*waiter).aside {
		q.any.Add(-1)
	}
	next := el.Next()
	q.waiters.Remove(el)
	q.by.Give(client, 1)
	q.wakeLocked(next)
}

// stay takes note of what el waits for now. If it was woken, what came free was
// not for it, and the next may want it.
func (q *queue) stay(el *list.Element, aside, woken bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if w := el.Value.(*waiter); w.aside != aside {
		w.aside = aside
		q.any.Add(map[bool]int64{true: -1, false: 1}[aside])
	}
	if woken {
		q.wakeLocked(el.Next())
	}
}

// wait calls try, now and each time a place came free, until its error is none
// that is worth a wait. While that is another than ErrBusy it waits for something
// of its own, and may says, without a lock, whether it is worth a try.
func (q *queue) wait(ctx context.Context, closing <-chan struct{}, limit Limits, client netip.Addr, may func() bool, try func() error) error {
	el, err := q.enter(limit, client, may)
	if err != nil {
		return err
	}
	defer q.leave(el, client)
	timer := time.NewTimer(limit.Wait)
	defer timer.Stop()
	for woken := false; ; woken = true {
		err := try()
		if !worthAWait(err) {
			return nil
		}
		q.stay(el, err != ErrBusy, woken)
		select {
		case <-el.Value.(*waiter).woken:
		case <-timer.C:
			return err
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-closing:
			return ErrClosed
		}
	}
}
