package wire

import (
	"context"
	"sync"
	"sync/atomic"
)

// A Served connection is one of a [Roster].
type Served interface {
	comparable
	// Parked reports whether the connection has no goroutine: nothing is asked on it.
	Parked() bool
}

// A Roster is the connections that a server of one protocol serves, and waits for at its
// end. Its zero value is empty. It is safe for concurrent use.
type Roster[C Served] struct {
	draining atomic.Bool
	mu       sync.Mutex
	conns    map[C]struct{} // guarded by mu
	idle     sync.Cond      // on mu, once there was a connection: there are fewer
}

// Add makes c one of them. Whoever adds one leaves it as Drain would, if Draining says so.
func (r *Roster[C]) Add(c C) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.conns == nil {
		r.conns = make(map[C]struct{})
		r.idle.L = &r.mu
	}
	r.conns[c] = struct{}{}
}

// Remove forgets c, which is closed or somebody else's. It may have been forgotten.
func (r *Roster[C]) Remove(c C) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.conns, c)
	if len(r.conns) == 0 && r.idle.L != nil {
		r.idle.Broadcast()
	}
}

// All returns those that there are now.
func (r *Roster[C]) All() []C {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make([]C, 0, len(r.conns))
	for c := range r.conns {
		out = append(out, c)
	}
	return out
}

// Parked returns how many have no goroutine.
func (r *Roster[C]) Parked() (n int) {
	for _, c := range r.All() {
		if c.Parked() {
			n++
		}
	}
	return n
}

// Draining reports whether the server ends: Drain or End was called.
func (r *Roster[C]) Draining() bool { return r.draining.Load() }

// End says that the server ends, and returns what there is left.
func (r *Roster[C]) End() []C {
	r.draining.Store(true)
	return r.All()
}

// Drain calls leave for each connection, which is to end it once that is possible, and waits
// until there are none. If ctx ends before, it returns ctx's error.
func (r *Roster[C]) Drain(ctx context.Context, leave func(C)) error {
	for _, c := range r.End() {
		leave(c)
	}
	stop := context.AfterFunc(ctx, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.idle.L != nil {
			r.idle.Broadcast()
		}
	})
	defer stop()
	r.mu.Lock()
	defer r.mu.Unlock()
	for len(r.conns) > 0 && ctx.Err() == nil {
		r.idle.Wait()
	}
	if len(r.conns) > 0 {
		return ctx.Err()
	}
	return nil
}
