package cache

import (
	"context"
	"crypto/rand"
	"time"

	"github.com/foretier/foretier/cache/internal/law"
	"github.com/foretier/foretier/cache/internal/memory"
	"github.com/foretier/foretier/internal/transit"
)

const (
	turnTime  = 10 * time.Second // after which another takes the turn of one who has died
	turnPause = time.Second      // before who has not got it looks again
)

// A turn is what one of several gateways has that refreshes a response for all of them:
// the lease of its key in the second level. The methods of nil do nothing.
type turn struct {
	second      *second
	key, holder string
}

// end gives the turn back, once what has been stored under it is saved.
func (t *turn) end() {
	if t != nil {
		t.second.saves.put(parcel{turn: t}) // else it ends by itself
	}
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

// turnFor reports whether it is for this gateway to refresh what q asks for, and what to
// give back then. Without an answer it is: rather all refresh than none.
func (s *second) turnFor(ctx context.Context, q *question) (t *turn, mine bool) {
	t = &turn{second: s, key: storeKey(q), holder: rand.Text()}
	var got bool
	err := s.call(ctx, s.tells, func(ctx context.Context) (err error) {
		got, err = s.store.Lease(ctx, t.key, t.holder, turnTime)
		return err
	})
	if err != nil {
		return nil, true
	}
	if !got {
		q.stale.RefreshLater(time.Now().Add(turnPause))
		s.left.Add(1)
		return nil, false
	}
	// Only now, for whoever had the turn before may just have saved it.
	if s.fill(q.ask) && s.fresher(q.ask, q.stale) {
		t.end()
		s.left.Add(1)
		return nil, false
	}
	return t, true
}

// fresher reports whether memory has for a, in e's place, what is fresh.
func (s *second) fresher(a *ask, e *memory.Entry) bool {
	now := s.cache.store.Get([]byte(a.url), a.fits)
	if now == nil {
		return false
	}
	defer s.cache.store.Release(now)
	return now != e && s.cache.use(now, nil, time.Now()) == law.Fresh
}
