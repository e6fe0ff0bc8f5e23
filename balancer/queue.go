package balancer

import (
	"container/list"
	"context"
	"sync"
	"time"
)

// A queue holds the requests that wait for a place at a backend, first come
// first served.
type queue struct {
	mu      sync.Mutex
	waiters list.List // guarded by mu, of chan struct{} with room for one
}

// wake lets the first who waits try.
func (q *queue) wake() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.wakeLocked(q.waiters.Front())
}

func (q *queue) wakeLocked(el *list.Element) {
	if el == nil {
		return
	}
	select {
	case el.Value.(chan struct{}) <- struct{}{}:
	default: // it has been woken and has not tried yet
	}
}

func (q *queue) len() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.waiters.Len()
}

// wait calls try, now and each time a place came free, until it says done.
func (q *queue) wait(ctx context.Context, closing <-chan struct{}, limit Limit, try func() bool) error {
	if limit.Queue < 0 {
		return ErrBusy
	}
	q.mu.Lock()
	if q.waiters.Len() >= limit.Queue {
		q.mu.Unlock()
		return ErrBusy
	}
	woken := make(chan struct{}, 1)
	el := q.waiters.PushBack(woken)
	q.mu.Unlock()

	defer func() {
		q.mu.Lock()
		defer q.mu.Unlock()
		next := el.Next()
		q.waiters.Remove(el)
		// The call that woke this one may serve another too.
		q.wakeLocked(next)
	}()
	timer := time.NewTimer(limit.Wait)
	defer timer.Stop()
	for passOn := false; !try(); passOn = true {
		if passOn {
			// What came free was not for this one, which waits for its own
			// backend: the next may want it.
			q.mu.Lock()
			q.wakeLocked(el.Next())
			q.mu.Unlock()
		}
		select {
		case <-woken:
		case <-timer.C:
			return ErrBusy
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-closing:
			return ErrClosed
		}
	}
	return nil
}
