package cache

import (
	"context"
	"errors"
	"time"

	"github.com/foretier/foretier/cache/internal/memory"
	"github.com/foretier/foretier/internal/breaker"
)

const (
	openPause     = 250 * time.Millisecond // before a call is made again that was turned away
	selectingLife = time.Hour              // at least, of which fields variants differ on: one may live longer than another
)

// keep stores e, as add does, and has it saved for other gateways.
func (c *Cache) keep(a *ask, asked Position, e *memory.Entry, reserved int64) bool {
	if c.second == nil {
		return c.add(asked, e, reserved)
	}
	// What had been applied before e was found to stand has not invalidated it.
	applied, started, _ := c.follower.position()
	if !c.add(asked, e, reserved) {
		return false
	}
	if started {
		c.second.save(a, e, applied)
	}
	return true
}

// save has e, which is the answer to a, saved once there is time, if it is for others.
func (s *second) save(a *ask, e *memory.Entry, applied Position) {
	size := e.Len() + int64(len(e.Head))
	if e.Purged() != 0 || e.Flags&(memory.Part|memory.Validate) != 0 || size > maxBlob || lifetime(e, time.Now()) <= 0 ||
		!s.cache.store.TryRetain(e) {
		return
	}
	q := question{ask: a}
	p := parcel{entry: e, size: size, applied: applied, base: s.storeKey(&q)}
	p.selecting, _ = e.Vary()
	q.selecting = p.selecting
	if p.key = p.base; p.selecting != "" {
		p.key = s.storeKey(&q)
	}
	if len(p.selecting) > maxSelecting-len(selectingMark) || !s.saves.put(p) {
		s.saves.dropped.Add(1)
		s.cache.store.Release(e)
	}
}

// lifetime returns for how long e is worth keeping for other gateways: until it can
// neither be served, but in place of errors, nor validated.
func lifetime(e *memory.Entry, now time.Time) time.Duration {
	grace := e.Grace
	if e.Flags&memory.NoStale != 0 {
		grace = 0
	}
	return time.Duration(e.FreshUntil + max(grace, e.Keep) - now.UnixNano())
}

// run tells the second level what there is to tell until ctx ends, and then what is
// left, for a moment.
func (s *second) run(ctx context.Context) {
	for ctx.Err() == nil {
		select {
		case p := <-s.saves.queue:
			s.tell(ctx, p)
		case <-ctx.Done():
		}
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), farewell)
	defer cancel()
	s.flush(ctx)
}

// flush tells what waits while ctx allows it, and gives up the rest.
func (s *second) flush(ctx context.Context) {
	for {
		select {
		case p := <-s.saves.queue:
			s.tell(ctx, p)
		default:
			return
		}
	}
}

// tell does what p is for. While calls are turned away it waits, and so does what comes
// behind it, or finds no room.
func (s *second) tell(ctx context.Context, p parcel) {
	if p.turn != nil { // it ends by itself else
		_ = s.call(ctx, s.tells, func(ctx context.Context) error { return s.store.Release(ctx, p.turn.key, p.turn.holder) })
		return
	}
	defer s.saves.bytes.Add(-p.size)
	defer s.cache.store.Release(p.entry)
	life := lifetime(p.entry, time.Now())
	blob, ok := appendBlob(nil, p.entry, p.applied)
	if !ok || len(blob) > maxBlob || life <= 0 {
		return
	}
	var err error
	if p.selecting != "" {
		mark := []byte(selectingMark + p.selecting)
		err = s.try(ctx, func(ctx context.Context) error { return s.store.Save(ctx, p.base, mark, max(life, selectingLife)) })
	}
	if err == nil {
		err = s.try(ctx, func(ctx context.Context) error { return s.store.Save(ctx, p.key, blob, life) })
	}
	if err != nil {
		s.saves.dropped.Add(1)
		return
	}
	s.saves.saved.Add(1)
}

// try makes a call as soon as one may be made.
func (s *second) try(ctx context.Context, do func(context.Context) error) error {
	for {
		err := s.call(ctx, s.tells, do)
		if !errors.Is(err, breaker.ErrOpen) || ctx.Err() != nil {
			return err
		}
		rest(ctx, openPause)
	}
}
