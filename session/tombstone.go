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
	destroyed  = "destroyed"  // nothing of it may come back
	renewed    = "renewed"    // it goes on under an id that only its owner knows
	loggedIn   = "login"      // renewed, and nobody's before
	passedOn   = "passed on"  // it was somebody's and is another's or nobody's: nothing of it is left
	unreadable = "unreadable" // in no tombstone: a later version of this package has written there
)

// A grave is where a session was, and the tombstone in its place.
type grave struct {
	key    string
	record Record // Version unknown: to be looked at again
	says   payload
}

// errEnded says that the store has the session no longer, and what is in its
// place. A session that is gone without a tombstone was destroyed a while ago or
// has expired, which comes to the same.
type errEnded struct {
	how   string
	grave grave
}

func (errEnded) Error() string   { return ErrEnded.Error() }
func (errEnded) Is(e error) bool { return e == ErrEnded }

// renewal returns the tombstone of p, which goes on as next under key.
//
// What stood in p stays in it: whoever has the old id has seen that, and a
// visitor whose answer got lost is still who they were, and can renew again.
// Nothing that is written from now on can be seen there. If the session becomes
// another subject's, or nobody's again, that is the end of who they were:
// nothing stays.
func (p payload) renewal(name string, next payload, key string) payload {
	t := payload{Created: p.Created, Ended: renewed, Heir: key, Tag: next.tag(name), Since: next.Epoch}
	switch {
	case p.Subject == "" && next.Subject != "":
		t.Ended = loggedIn
	case p.Subject != next.Subject:
		return payload{Created: p.Created, Ended: passedOn}
	}
	t.Subject, t.Epoch, t.Long, t.Values = p.Subject, p.Epoch, p.Long, p.Values
	if _, err := t.encode(); err != nil {
		t.Values = nil // full to the brim: what a tombstone says besides has no room
	}
	return t
}

// shows reports whether a tombstone shows what stood there.
func (p payload) shows() bool { return p.Ended == renewed || p.Ended == loggedIn }

// before returns the session that a tombstone shows.
func (p payload) before() payload {
	return payload{Created: p.Created, Subject: p.Subject, Epoch: p.Epoch, Long: p.Long, Values: p.Values}
}

// maxRenewals is how often a session may be renewed within a minute while its
// oldest id still shows something.
const maxRenewals = 8

// outlived reports whether what tombstone t shows is to be seen no longer: the
// session that came of it was destroyed, or whose it is was revoked.
func (m *Manager) outlived(ctx context.Context, t payload) (bool, error) {
	for range maxRenewals {
		if t.Heir == "" {
			return false, nil // of an earlier version: it shows nothing
		}
		keys := []string{t.Heir}
		if t.Tag != "" {
			keys = append(keys, epochKey(t.Tag))
		}
		records, err := m.load(ctx, keys...)
		if errors.Is(err, ErrUnreadable) {
			return true, nil // in doubt
		}
		if err != nil {
			return false, err
		}
		if t.Tag != "" {
			if epoch := string(records[1].Data); epoch != "" && epoch != t.Since {
				return true, nil
			}
		}
		if records[0].Version == 0 {
			return true, nil
		}
		switch t, err = decodePayload(records[0].Data); {
		case err != nil:
			return true, nil // in doubt
		case t.Ended == "":
			return false, nil
		case !t.shows():
			return true, nil
		}
	}
	return true, nil
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

// destroy replaces what is at key by a tombstone that shows nothing, if it is still
// record.
func (m *Manager) destroy(ctx context.Context, key string, record Record) error {
	err := m.entomb(ctx, key, record, payload{Created: time.Now().Unix(), Ended: destroyed})
	if errors.Is(err, ErrFull) {
		// There is no room for a tombstone, but a logout must be one. Who is
		// under way finds nothing, and brings nothing back.
		err = m.call(ctx, func(ctx context.Context) error { return m.store.Delete(ctx, key, record) })
	}
	return err
}

// retire destroys what is at key: it puts a tombstone in its place that shows
// nothing, whatever it has become meanwhile. record is what it was. ended is
// false if there was nothing left to be destroyed.
func (m *Manager) retire(ctx context.Context, key string, record Record) (ended bool, err error) {
	for try := 0; ; try++ {
		if try > 0 || record.Version == unknown {
			record, _, err = m.reload(ctx, key)
			if end := (errEnded{}); errors.As(err, &end) {
				if end.how == unreadable {
					return false, fmt.Errorf("%w: not destroyed", ErrUnreadable)
				}
				if !end.grave.says.shows() {
					return false, nil
				}
			} else if err != nil {
				return false, err
			}
		}
		err = m.destroy(ctx, key, record)
		switch {
		case err == nil:
			return true, nil
		case errors.Is(err, ErrNotFound):
			return false, nil
		case !errors.Is(err, ErrConflict):
			return false, err
		case !pause(ctx, try):
			return false, fmt.Errorf("%w: too many changes at once", ErrConflict)
		}
	}
}
