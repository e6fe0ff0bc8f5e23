package session

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"
)

const (
	lockWait  = 5 * time.Second  // how long a request waits for another's lock
	lockLease = 30 * time.Second // how long a lock stands if its holder dies
)

// ErrLocked means that another request kept the session locked for too long.
var ErrLocked = errors.New("session: locked by another request")

// Lock lets the request have the session alone among those that call Lock,
// until its handler returns: for work outside the session that must be done
// once, such as a payment. Changes to the session itself never need it.
//
// It waits up to 5 seconds for another request, on any machine, and then
// returns ErrLocked; the client is answered 503 whatever the handler does. The
// lock ends by itself after 30 seconds, so that a machine which dies blocks
// nobody for longer. The session is loaded anew under the lock: what was looked
// at before may be out of date. Without a stored session there is nothing to
// lock, and nothing to wait for. With an id that the session had before a
// renewal it is ErrEnded: another request may have the lock of what came of it.
func (s *Session) Lock() error {
	if err := s.alter(false, func() {}); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.draft.from.key != "" {
		return ErrEnded
	}
	if s.unlock != nil || s.draft.ticket.id == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(s.r.Context(), lockWait)
	defer cancel()
	unlock, err := s.m.lock(ctx, s.draft.ticket)
	if err != nil {
		s.err = err
		return err
	}
	s.unlock = unlock
	return s.refreshLocked(ctx)
}

// refreshLocked loads the session again, with this request's changes on top.
func (s *Session) refreshLocked(ctx context.Context) error {
	record, base, err := s.m.reload(ctx, s.draft.ticket.key(s.m.name))
	if end := (errEnded{}); errors.As(err, &end) {
		s.ended, s.draft, s.now = end.how, draft{}, nil
		if end.grave.says.shows() {
			s.draft.from = grave{key: end.grave.key, record: Record{Version: unknown}}
		}
		return ErrEnded
	}
	if err != nil {
		return s.failLocked(err)
	}
	now, err := apply(s.draft.base.Values, base.Values, s.draft.changes)
	if err != nil {
		s.err = err
		return err
	}
	s.draft.record, s.draft.base, s.now, s.read = record, base, now, nil
	s.version++
	return nil
}

// lock takes the lock of a session. Requests of this process queue at its gate,
// so that at most one of them asks the store.
func (m *Manager) lock(ctx context.Context, t ticket) (unlock func(), err error) {
	key := "l-" + digest(m.name, "lock "+t.id, 32)
	leave, err := m.gates.enter(ctx, key)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrLocked, err)
	}
	token := rand.Text()
	for try := 0; ; try++ {
		err := m.call(ctx, func(ctx context.Context) error { return m.store.Create(ctx, key, []byte(token), lockLease) })
		switch {
		case err == nil:
			return func() { defer leave(); m.release(key, token) }, nil
		case errors.Is(err, ErrExists) && pause(ctx, try):
			continue
		case errors.Is(err, ErrExists):
			err = fmt.Errorf("%w: %w", ErrLocked, ctx.Err())
		}
		leave()
		return nil, err
	}
}

// release removes a lock if it is still the one with this token: it may have
// run out and be another's.
func (m *Manager) release(key, token string) {
	ctx, cancel := context.WithTimeout(context.Background(), lockWait)
	defer cancel()
	records, err := m.load(ctx, key)
	if err == nil && string(records[0].Data) == token {
		err = m.call(ctx, func(ctx context.Context) error { return m.store.Delete(ctx, key, records[0]) })
	}
	if err != nil && !isAnswer(err) {
		m.opts.Logger.Error("session: lock not released, it ends in 30 s at most", "error", err)
	}
}

// release gives up what the request holds.
func (s *Session) release() {
	s.mu.Lock()
	var unlock func()
	if s.view != nil {
		unlock, s.unlock = s.unlock, nil
	}
	s.mu.Unlock()
	if unlock != nil {
		unlock()
	}
}
