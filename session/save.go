package session

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"
)

// commit saves the session before the response's header goes out, and puts into it
// what the client is to send from now on, if that is new.
func (s *Session) commit(h http.Header) error {
	err := s.save(false)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sent = true
	if err != nil || s.view == nil || s.ended != "" {
		return err
	}
	t := s.draft.ticket
	if t == s.browser && (!s.logout || !s.present) {
		return nil
	}
	maxAge := 0
	if t.id != "" && (s.m.opts.Persistent || s.draft.base.Long) {
		left := time.Until(s.draft.base.ends(s.m.opts))
		maxAge = int((left + time.Second - 1) / time.Second)
	}
	s.m.carrier.give(h, s.r, t, maxAge)
	return nil
}

// save brings the store up to what this request has made of its session.
// strict makes dropped changes an ErrEnded.
func (s *Session) save(strict bool) error {
	s.saving.Lock()
	defer s.saving.Unlock()
	s.mu.Lock()
	if s.view == nil {
		s.mu.Unlock()
		return nil
	}
	v := *s.view
	s.mu.Unlock()
	if v.err != nil || v.readOnly {
		return v.err
	}
	d := v.draft
	// The client may leave: what it asked for is saved all the same.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(s.r.Context()), tryFor)
	defer cancel()
	if v.ended != "" && !d.renew {
		if d.destroy { // a logout with an id that is on its way out is one
			if err := d.retire(ctx, s.m); err != nil {
				return err
			}
			v.ended = destroyed
		}
		return s.drop(d, v.ended, strict)
	}
	stored, err := d.store(ctx, s.m)
	if end := (errEnded{}); errors.As(err, &end) {
		return s.drop(d, end.how, strict)
	}
	if err != nil {
		return err
	}
	s.settle(d, stored)
	return nil
}

// settle takes over what has been stored of draft d. What was changed
// meanwhile stays to be saved.
func (s *Session) settle(d, stored draft) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.draft.changes) > len(d.changes) {
		stored.changes = s.draft.changes[len(d.changes):]
	} else {
		s.now = stored.base.Values
	}
	if stored.ticket.id != "" {
		s.ended = "" // a login began another
	}
	s.draft = stored
	s.version++
}

// drop gives up the changes of a draft whose session has ended. After a logout
// that is as it should be. After a renewal the client must try again, with the
// new cookie that its browser has by now.
func (s *Session) drop(d draft, how string, strict bool) error {
	s.mu.Lock()
	s.ended, s.draft = how, draft{}
	if how == renewed || how == loggedIn {
		// A logout after this is one of what is still to be seen.
		key := d.from.key
		if d.ticket.id != "" {
			key = d.ticket.key(s.m.name)
		}
		s.draft.from = grave{key: key, record: Record{Version: unknown}}
	}
	s.mu.Unlock()
	if len(d.changes) == 0 && !d.renew {
		return nil
	}
	s.m.stats.dropped.Add(1)
	switch {
	case strict:
		return ErrEnded
	case how != destroyed:
		return fmt.Errorf("%w: another request renewed the session", ErrConflict)
	}
	return nil
}
