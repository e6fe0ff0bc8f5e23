package cache

import (
	"errors"
	"net/http"
	"sync"

	"github.com/foretier/foretier/cache/internal/law"
	"github.com/foretier/foretier/cache/internal/memory"
)

// errClosed ends the fetches of a cache that is closed.
var errClosed = errors.New("cache: closed")

// running keeps the fetches that have not ended.
type running struct {
	mu      sync.Mutex
	closed  bool                // guarded by mu
	fetches map[*fetch]struct{} // guarded by mu
	wait    sync.WaitGroup
}

// add takes a fetch in; it reports false if the cache is closed.
func (r *running) add(f *fetch) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return false
	}
	if r.fetches == nil {
		r.fetches = make(map[*fetch]struct{})
	}
	r.fetches[f] = struct{}{}
	r.wait.Add(1)
	return true
}

func (r *running) remove(f *fetch) {
	r.mu.Lock()
	delete(r.fetches, f)
	r.mu.Unlock()
	r.wait.Done()
}

// close cancels what runs and waits for its end.
func (r *running) close() {
	r.mu.Lock()
	r.closed = true
	for f := range r.fetches {
		f.cancel(errClosed)
	}
	r.mu.Unlock()
	r.wait.Wait()
}

// flights are the fetches of one handler that others may join, by key.
type flights struct {
	mu sync.Mutex
	m  map[string]*flight // guarded by mu
}

// A flight is a fetch and those who wait for it.
type flight struct {
	*fetch
	waiting int // guarded by flights.mu
}

func (fs *flights) leave(f *fetch) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if x := fs.m[f.key]; x != nil && x.fetch == f {
		delete(fs.m, f.key)
	}
}

// join returns the fetch that a is to wait for, or starts one that a leads.
// late is a fetch that a has waited for long enough. If a fetch has ended since
// a was looked up, what it stored is returned instead, to be released.
func (fs *flights) join(h *handler, w http.ResponseWriter, a *ask, stale *memory.Entry, key string, conditional, alone bool, late *fetch) (f *fetch, leads bool, stored *memory.Entry) {
	if alone {
		return h.start(a, w, stale, key, conditional), true, nil
	}
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if x := fs.m[key]; x != nil && x.fetch != late && !x.stopped() && !h.cache.log.overtakes(x.fetch) {
		// However many wait: a request that was refused here, or that asked for
		// itself, would only cost more than one that waits.
		x.waiting++
		return x.fetch, false, nil
	}
	// A fetch stores before it leaves, so what it brought is there by now.
	if e := h.cache.store.Get([]byte(a.url), a.fits); e != nil {
		if w != nil && a.use(e) == law.Fresh {
			return nil, false, e
		}
		h.cache.store.Release(e)
	}
	f = h.start(a, w, stale, key, conditional)
	if f != nil {
		if fs.m == nil {
			fs.m = make(map[string]*flight)
		}
		fs.m[key] = &flight{fetch: f}
	}
	return f, true, nil
}

// stopped reports whether there is nothing to join any more.
func (f *fetch) stopped() bool {
	select {
	case <-f.ready:
		return f.alone || f.outcome != shared && f.outcome != modified
	default:
		return false
	}
}

// unwait takes one off who waits for f.
func (fs *flights) unwait(f *fetch) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if x := fs.m[f.key]; x != nil && x.fetch == f {
		x.waiting--
	}
}
