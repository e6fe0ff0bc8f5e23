package cache

import (
	"context"

	"github.com/foretier/foretier/cache/internal/memory"
	"github.com/foretier/foretier/internal/transit"
)

// refresh fetches anew what is stored, behind the client's back, unless that is
// under way or too many are.
func (h *handler) refresh(a *ask, e *memory.Entry) {
	if !e.Refresh(a.now, h.cache.opts.Fetch) {
		return
	}
	select {
	case h.refreshing <- struct{}{}:
	default:
		e.Refreshed()
		return
	}
	q := a.refreshing(e)
	if h.cache.second != nil {
		h.inTurn(q)
		return
	}
	h.refreshNow(q)
}

// inTurn refreshes what q asks for, behind everybody's back, unless another gateway
// does, or has.
func (h *handler) inTurn(q question) {
	detached, _ := transit.Detach(q.ask.r.Context())
	ctx, cancel := context.WithCancelCause(detached)
	t := &task{cancel: cancel, done: make(chan struct{})}
	if !h.cache.running.add(t) {
		cancel(errClosed)
		<-h.refreshing
		return
	}
	e := q.stale
	h.cache.store.Retain(e)
	q.ask = q.ask.clone(ctx) // what the client's request holds may change once it has been answered
	go func() {
		defer h.cache.running.remove(t)
		defer close(t.done)
		defer h.cache.store.Release(e)
		defer cancel(context.Canceled)
		var mine bool
		if q.turn, mine = h.cache.second.turnFor(ctx, &q); mine {
			h.refreshNow(q)
			return
		}
		<-h.refreshing
	}()
}

// refreshNow begins the fetch of a refresh, which has its place.
func (h *handler) refreshNow(q question) {
	if f, leads := h.flights.join(&q); !leads || !h.launch(nil, f, q) {
		q.turn.end()
		<-h.refreshing
	}
}

// refreshing returns what a refresh of e asks, of which a is.
func (a *ask) refreshing(e *memory.Entry) question {
	a.reason = "stale"
	q := question{ask: a, stale: e, refresh: true}
	q.selecting, _ = e.Vary()
	a.anonymous(q.selecting)
	return q
}
