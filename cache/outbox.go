package cache

import (
	"context"
	"sync"
)

const (
	maxOutbox = 1024 // invalidations that wait for the feed
	maxBatch  = 256  // of them, that are sent at once
)

// An outbox holds what is to be appended to the feed, in order.
type outbox struct {
	some chan struct{} // has a token whenever there is something

	mu      sync.Mutex
	items   []item // guarded by mu
	order   uint64 // guarded by mu: how many have come
	dropped uint64 // guarded by mu: for want of room
}

// An item is one invalidation.
type item struct {
	data []byte
	own  *own            // told in which order it came; nil: nobody asks
	done chan<- Position // told once the feed has it, and not waited for; nil: nobody asks
}

func newOutbox() *outbox { return &outbox{some: make(chan struct{}, 1)} }

// put adds an item, unless there is no room for one that nobody asks about. If there
// is none for one that somebody does, all stands for it and for everything that waits:
// the feed has been gone for long, and what is not told may be what matters.
func (o *outbox) put(it item, all func() []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.order++
	if it.own != nil {
		it.own.order.Store(o.order)
	}
	switch {
	case len(o.items) < maxOutbox:
		o.items = append(o.items, it)
	case it.done == nil:
		o.dropped++
	default:
		o.items = append(o.items[:0:0], item{data: all(), done: it.done})
	}
	select {
	case o.some <- struct{}{}:
	default:
	}
}

// wait returns once something is there, or ctx has ended, which it reports.
func (o *outbox) wait(ctx context.Context) bool {
	if o.len() > 0 {
		return ctx.Err() == nil
	}
	select {
	case <-o.some:
		return true
	case <-ctx.Done():
		return false
	}
}

func (o *outbox) len() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.items)
}

func (o *outbox) lost() uint64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.dropped
}

// take returns the oldest items and leaves them out of the box.
func (o *outbox) take() []item {
	o.mu.Lock()
	defer o.mu.Unlock()
	n := min(len(o.items), maxBatch)
	batch := o.items[:n:n]
	o.items = o.items[n:]
	return batch
}

// back puts items in again that could not be sent, ahead of the others.
func (o *outbox) back(batch []item) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.items = append(batch, o.items...)
}
