package session

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// A session that ends leaves a tombstone in its place for a minute: as long as
// requests may be under way that began with it. They find out how it ended, and
// neither bring it back nor set a cookie over the one that the browser has by
// then.
const retired = time.Minute

// How a session ended.
const (
	destroyed = "destroyed" // nothing of it may come back
	renewed   = "renewed"   // it goes on under an id that only its owner knows
	loggedIn  = "login"     // likewise, and was nobody's before: its values stand in the tombstone
)

// errEnded says that the store has the session no longer: how it ended, and
// what its tombstone keeps. A session that is gone without one was destroyed a
// while ago or has expired, which comes to the same.
type errEnded struct {
	how  string
	left values
}

func (errEnded) Error() string   { return ErrEnded.Error() }
func (errEnded) Is(e error) bool { return e == ErrEnded }

// renewal returns the tombstone of p, which is renewed, perhaps by a login.
//
// The values of a visitor who was nobody yet stay in it: whoever has the old id
// has seen them, and a login whose answer got lost finds the cart again.
func (p payload) renewal(now time.Time, login bool) payload {
	if login && p.Subject == "" {
		return payload{Created: now.Unix(), Ended: loggedIn, Values: p.Values}
	}
	return payload{Created: now.Unix(), Ended: renewed}
}

// entomb replaces a session by a note that it has ended, which stands for as
// long as requests may be under way that began with it.
func (m *Manager) entomb(ctx context.Context, key string, old Record, tombstone payload) error {
	data, err := tombstone.encode()
	if err != nil {
		return err
	}
	return m.call(ctx, func(ctx context.Context) error { return m.store.Update(ctx, key, old, data, retired) })
}

// retire puts a tombstone in the session's place, whatever it has become
// meanwhile.
func (d draft) retire(ctx context.Context, m *Manager) error {
	key := d.ticket.key(m.name)
	for try := 0; ; try++ {
		if try > 0 || d.record.Version == unknown {
			var err error
			if d.record, _, err = m.reload(ctx, key); errors.Is(err, ErrEnded) {
				return nil
			} else if err != nil {
				return err
			}
		}
		err := m.entomb(ctx, key, d.record, payload{Created: time.Now().Unix(), Ended: destroyed})
		switch {
		case err == nil:
			m.stats.ended.Add(1)
			return nil
		case errors.Is(err, ErrNotFound):
			return nil
		case !errors.Is(err, ErrConflict):
			return err
		case !pause(ctx, try):
			return fmt.Errorf("%w: too many changes at once", ErrConflict)
		}
	}
}
