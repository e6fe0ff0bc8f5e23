package cache

import (
	"errors"
	"net/http"
	"net/netip"
	"slices"
	"sync"

	"github.com/foretier/foretier/cache/internal/law"
	"github.com/foretier/foretier/cache/internal/memory"
	"github.com/foretier/foretier/internal/transit"
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

// What may go on of a handler's fetches although nobody waits, to be stored for
// the next. What a visitor leaves behind holds a place at a backend that others
// wait for.
const (
	maxForNobody   = 8 // in all
	nobodyByClient = 2 // of them, of one client
)

// flights are the fetches of one handler. Those by key others may join.
type flights struct {
	mu     sync.Mutex
	m      map[string]*flight // guarded by mu
	nobody []netip.Addr       // guarded by mu: whose the fetches are that go on for nobody
}

// A flight is a fetch and those who wait for it.
type flight struct {
	*fetch
	waiting int // guarded by flights.mu
}

// leave takes f out, which needs nobody any more.
func (fs *flights) leave(f *fetch) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	f.over = true
	fs.resumeLocked(f)
	fs.removeLocked(f)
}

func (fs *flights) removeLocked(f *fetch) {
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
		if w != nil {
			x.wanted++
			fs.resumeLocked(x.fetch)
		}
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

// unwant takes one off who would use what f brings. With the last of them f gives
// its place at the backend back, unless it is known that what comes is stored: it
// has been before, or its header has come. Of those few go on; the rest would be
// a way to hold the backends without waiting.
func (fs *flights) unwant(f *fetch) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if f.wanted--; f.wanted > 0 || f.over || f.refreshes {
		return
	}
	if f.storedBefore() || f.brings() {
		client, his := transit.Network(transit.Client(f.request)), 0
		for _, x := range fs.nobody {
			if x == client {
				his++
			}
		}
		if len(fs.nobody) < maxForNobody && his < nobodyByClient {
			fs.nobody = append(fs.nobody, client)
			f.orphan = true
			return
		}
	}
	fs.removeLocked(f) // nobody may join it any more
	f.cancel(errNobody)
}

// resumeLocked counts f no longer among those that go on for nobody.
func (fs *flights) resumeLocked(f *fetch) {
	if !f.orphan {
		return
	}
	f.orphan = false
	client := transit.Network(transit.Client(f.request))
	if i := slices.Index(fs.nobody, client); i >= 0 {
		fs.nobody = slices.Delete(fs.nobody, i, i+1)
	}
}

// storedBefore reports whether what f asks for was stored when it began.
func (f *fetch) storedBefore() bool { return f.stale != nil || f.begun != nil }

// brings reports whether the header has come and says that the rest is stored.
func (f *fetch) brings() bool {
	select {
	case <-f.ready:
		return f.outcome == shared
	default:
		return false
	}
}
