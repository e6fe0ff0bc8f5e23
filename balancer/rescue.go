package balancer

import (
	"errors"
	"time"

	"github.com/foretier/foretier/health"
)

// errRescued ends the wait for a backend that turned down.
var errRescued = errors.New("balancer: the backend turned down meanwhile")

// rescueLocked moves the requests that wait on e, which has just turned down,
// to another backend, if there is one that is alive: nobody should wait for a
// minute on a server that is known to be dead. What may not be repeated keeps
// waiting.
func (p *Pool) rescueLocked(e *entry, snap *snapshot) {
	alive := len(snap.rest) > 0
	for _, other := range snap.use {
		alive = alive || other.verdict.State != health.Down
	}
	if !alive {
		return
	}
	for _, owner := range e.load.Owners() {
		if t, ok := owner.(*try); ok {
			t.rescue()
		}
	}
}

// rescue ends the wait if the request may be sent elsewhere. It does not wait
// for that to happen.
func (t *try) rescue() {
	x := t.exchange
	if !x.again() || !x.pool.budget.spend(time.Now(), x.pool.opts.Retry) {
		return
	}
	t.call.Abort(errRescued)
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.interrupt != nil {
		t.interrupt(errRescued)
	}
}
