package cache

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"slices"
	"sync"

	"github.com/foretier/foretier/internal/transit"
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

// What may go on of a handler's fetches although nobody waits, to be stored for
// the next. What a visitor leaves behind holds a place at a backend that others
// wait for.
const (
	maxForNobody   = 8 // in all
	nobodyByClient = 2 // of them, of one client
)

// A flight is a fetch as those see it who lead it, wait for it or follow it: by
// what it is known, who wants it, and what has come of it.
type flight struct {
	task
	key       string
	url       string
	client    netip.Addr // on whose behalf it asks
	position  Position   // before the backend is asked
	refreshes bool       // nobody waits: it holds a place among the refreshing
	before    bool       // what it asks for was stored when it began

	wanted int  // guarded by flights.mu: how many would use what comes
	orphan bool // guarded by flights.mu: it goes on for nobody
	over   bool // guarded by flights.mu: it has ended

	mu     sync.Mutex
	leader http.ResponseWriter // guarded by mu until there is an answer; nil once the leader has left

	ready  chan struct{}   // closed when what follows is set
	answer answer          // published once
	record *transit.Record // nil if nothing was asked
	first  *reader         // the leader's, of a shared answer
	body   stream          // of a shared answer

	trailer  http.Header // of a shared answer, among its header's fields; set before the body ends
	stored   bool        // set before done
	panicked any         // what next panicked with; set before done
}

// publish tells all who wait what the answer is.
func (f *flight) publish(an answer) {
	f.answer = an
	close(f.ready)
}

// published reports whether there is an answer.
func (f *flight) published() bool {
	select {
	case <-f.ready:
		return true
	default:
		return false
	}
}

// abandon takes the leader off a flight that has no answer yet.
func (f *flight) abandon() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.published() {
		return false
	}
	f.leader = nil
	return true
}

// joinable reports whether f may bring what one who comes now can use.
func (f *flight) joinable(l *log) bool {
	if f.published() {
		an := &f.answer
		return (an.kind == shared || an.kind == modified && !an.forOne) && !l.overtaken(f.position, an.entry)
	}
	return !l.names(f.position, f.url)
}

// promises reports whether it is known that what comes is stored: it has been
// before, or its header says so.
func (f *flight) promises() bool {
	if f.published() {
		return f.answer.kind == shared || f.answer.held != nil
	}
	return f.before
}

// flights are the fetches of one handler. Those by key others may join.
type flights struct {
	log    *log
	mu     sync.Mutex
	m      map[string]*flight // guarded by mu
	nobody []netip.Addr       // guarded by mu: whose the fetches are that go on for nobody
}

// join returns the flight that brings what q asks for. Whoever leads it has to
// begin its fetch; it is found by others already, who wait for that.
func (fs *flights) join(q *question) (f *flight, leads bool) {
	key := q.key()
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if f := fs.m[key]; f != nil && !q.alone && f != q.late && f.joinable(fs.log) {
		// However many wait: a request that was refused here, or that asked for
		// itself, would only cost more than one that waits.
		if !q.refresh {
			f.wanted++
			fs.resumeLocked(f)
		}
		return f, false
	}
	f = &flight{
		key: key, url: q.ask.url, client: transit.Network(transit.Client(q.ask.r)), position: fs.log.head(),
		refreshes: q.refresh, before: q.stale != nil || q.begun != nil,
		ready: make(chan struct{}), task: task{done: make(chan struct{})},
	}
	if !q.refresh {
		f.wanted = 1
	}
	if !q.alone {
		if fs.m == nil {
			fs.m = make(map[string]*flight)
		}
		fs.m[key] = f
	}
	return f, true
}

// land ends a flight for which nothing was asked.
func (fs *flights) land(f *flight, an answer) {
	fs.leave(f)
	f.publish(an)
	close(f.done)
}

// leave takes f out, which needs nobody any more.
func (fs *flights) leave(f *flight) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	f.over = true
	fs.resumeLocked(f)
	fs.removeLocked(f)
}

func (fs *flights) removeLocked(f *flight) {
	if fs.m[f.key] == f {
		delete(fs.m, f.key)
	}
}

// unwant takes one off who would use what f brings. With the last of them f gives
// its place at the backend back, unless it is known that what comes is stored. Of
// those few go on; the rest would be a way to hold the backends without waiting.
func (fs *flights) unwant(f *flight) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if f.wanted--; f.wanted > 0 || f.over || f.refreshes {
		return
	}
	if f.promises() && fs.mayGoOnLocked(f.client) {
		fs.nobody = append(fs.nobody, f.client)
		f.orphan = true
		return
	}
	fs.removeLocked(f) // nobody may join it any more
	f.cancel(errNobody)
}

// mayGoOnLocked reports whether one more fetch of a client may go on for nobody.
func (fs *flights) mayGoOnLocked(client netip.Addr) bool {
	his := 0
	for _, x := range fs.nobody {
		if x == client {
			his++
		}
	}
	return len(fs.nobody) < maxForNobody && his < nobodyByClient
}

// resumeLocked counts f no longer among those that go on for nobody.
func (fs *flights) resumeLocked(f *flight) {
	if !f.orphan {
		return
	}
	f.orphan = false
	if i := slices.Index(fs.nobody, f.client); i >= 0 {
		fs.nobody = slices.Delete(fs.nobody, i, i+1)
	}
}
