package cache

import (
	"context"
	"errors"
	"sync"
)

// errClosed ends the fetches of a cache that is closed.
var errClosed = errors.New("cache: closed")

// A task is a fetch as the cache closes it.
type task struct {
	cancel context.CancelCauseFunc
	done   chan struct{} // closed when it has ended but for giving back what it held
}

// running keeps the fetches that have not ended.
type running struct {
	mu      sync.Mutex
	closed  bool               // guarded by mu
	fetches map[*task]struct{} // guarded by mu
	wait    sync.WaitGroup
}

// add takes a fetch in; it reports false if the cache is closed.
func (r *running) add(t *task) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return false
	}
	if r.fetches == nil {
		r.fetches = make(map[*task]struct{})
	}
	r.fetches[t] = struct{}{}
	r.wait.Add(1)
	return true
}

func (r *running) remove(t *task) {
	r.mu.Lock()
	delete(r.fetches, t)
	r.mu.Unlock()
	r.wait.Done()
}

// close cancels what runs and waits for its end.
func (r *running) close() {
	r.mu.Lock()
	r.closed = true
	for t := range r.fetches {
		t.cancel(errClosed)
	}
	r.mu.Unlock()
	r.wait.Wait()
}
