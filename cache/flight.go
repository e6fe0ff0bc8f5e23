package cache

import (
	"net/http"
	"net/netip"
	"sync"

	"github.com/foretier/foretier/internal/transit"
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
	record *transit.Record // the fetch's; nil if nothing was asked
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
