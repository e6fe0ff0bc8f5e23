package cache

import (
	"context"
	"crypto/rand"
	"time"

	"github.com/foretier/foretier/cache/internal/law"
	"github.com/foretier/foretier/cache/internal/memory"
)

const (
	turnTime  = 10 * time.Second // after which another takes the turn of one who has died
	turnPause = time.Second      // before who has not got it looks again
)

// turnFor reports whether it is for this gateway to refresh what q asks for, and what to
// give back then. Without an answer it is: rather all refresh than none.
func (s *second) turnFor(ctx context.Context, q *question) (t *turn, mine bool) {
	t = &turn{saves: &s.saves, key: s.storeKey(q), holder: rand.Text()}
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
