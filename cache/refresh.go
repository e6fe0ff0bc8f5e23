package cache

import "github.com/foretier/foretier/cache/internal/memory"

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
