package cache

import (
	"net/netip"
	"slices"
	"sync"

	"github.com/foretier/foretier/internal/transit"
)

// What may go on of a handler's fetches although nobody waits, to be stored for
// the next. What a visitor leaves behind holds a place at a backend that others
// wait for.
const (
	maxForNobody   = 8 // in all
	nobodyByClient = 2 // of them, of one client
)

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

// underWay reports whether q would be answered by a flight of another's.
func (fs *flights) underWay(q *question) bool {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	f := fs.m[q.key()]
	return f != nil && !q.alone && f.joinable(fs.log)
}

// land ends a flight for which nothing was asked.
func (fs *flights) land(f *flight, an answer) {
	fs.retire(f)
	f.publish(an)
	close(f.done)
}

// retire forgets f, whose fetch has ended: nobody else joins it.
func (fs *flights) retire(f *flight) {
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
