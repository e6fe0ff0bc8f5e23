package session

import (
	"context"
	"sync"
)

// gates let the requests of one session that got into each other's way go one
// after the other, within this process. They decide nothing: what two machines
// write is still decided by compare-and-set. They keep a hundred requests on
// one cart from loading and losing a hundred times each.
type gates struct {
	mu  sync.Mutex
	all map[string]*gate // guarded by mu; those somebody is in or waits at
}

type gate struct {
	busy  chan struct{} // holds one token while somebody is in
	users int           // guarded by gates.mu
}

// enter waits for the gate of key, or for ctx to end. leave opens it again.
func (g *gates) enter(ctx context.Context, key string) (leave func(), err error) {
	g.mu.Lock()
	if g.all == nil {
		g.all = make(map[string]*gate)
	}
	here := g.all[key]
	if here == nil {
		here = &gate{busy: make(chan struct{}, 1)}
		g.all[key] = here
	}
	here.users++
	g.mu.Unlock()

	quit := func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		if here.users--; here.users == 0 {
			delete(g.all, key)
		}
	}
	select {
	case here.busy <- struct{}{}:
		return func() { <-here.busy; quit() }, nil
	case <-ctx.Done():
		quit()
		return nil, ctx.Err()
	}
}
