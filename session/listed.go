package session

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"
)

const (
	maxListed = 100 // how many sessions of one subject are listed: the latest
	slack     = 25  // how many more a list may have, so that not each login has to look at all
)

// A Listed is one of a subject's sessions, as [Manager.Sessions] found it. [Value]
// reads what it holds.
type Listed struct {
	ID         string    // for [Manager.End]; it may be shown, and lets nobody in
	Begun      time.Time // when the subject logged in
	Expires    time.Time // when it ends unless it is used; about
	Remembered bool      // see [Session.Remember]

	values values
}

// Is reports whether l is the session that s began its request with: "this device".
func (l Listed) Is(s *Session) bool {
	if s == nil {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.loadLocked() == nil && s.browser.id != "" && s.browser.key(s.m.name) == sessionPrefix+l.ID
}

func (l Listed) value(key string) (json.RawMessage, bool, error) {
	raw, ok := l.values[key]
	return raw, ok, nil
}

// list is what a record says of a subject's sessions, in the order in which they began.
// A session stands in it before it is stored, so that none is missing; what ends is
// left there until it would have ended anyway, or there is no room.
type list struct {
	Sessions []listing `json:"s"`
}

type listing struct {
	Key  string `json:"k"`
	Ends int64  `json:"end"` // used or not, in seconds since 1970
}

func listKey(tag string) string { return "i-" + tag }

// errNotListed is a mistake in the program.
var errNotListed = errors.New("session: there is no list: set Options.Listed")

// Sessions returns the sessions that subject has, the latest login first: those begun
// since [Options].Listed was set, at most the latest 100. They are changed by nothing
// but [Manager.End]; a later request may find them changed or gone.
func (m *Manager) Sessions(ctx context.Context, subject string) ([]Listed, error) {
	if !m.opts.Listed {
		return nil, errNotListed
	}
	_, l, err := m.list(ctx, subject)
	if err != nil {
		return nil, fmt.Errorf("session: listing: %w", err)
	}
	found, err := m.living(ctx, subject, l.Sessions)
	if err != nil {
		return nil, fmt.Errorf("session: listing: %w", err)
	}
	slices.Reverse(found)
	return found[:min(len(found), maxListed)], nil
}

// End ends one of subject's sessions, with all that can be seen under ids which it
// had before, as [Session.Destroy] does. It is no error if subject has no such
// session any more, or never had.
func (m *Manager) End(ctx context.Context, subject, id string) error {
	if len(id) != encoding.EncodedLen(idHash) || !isBase64URL(id) {
		return nil
	}
	key := sessionPrefix + id
	// It may be renewed while it is ended, again and again: then what came of it is
	// ended as well.
	for try := 0; key != ""; try++ {
		next, err := m.end(ctx, subject, key)
		switch {
		case err == nil:
			key = next
		case !errors.Is(err, ErrConflict):
			return fmt.Errorf("session: ending: %w", err)
		case !pause(ctx, try):
			return fmt.Errorf("session: ending: %w: too many changes at once", ErrConflict)
		}
	}
	return nil
}

// end ends what is under key, if it is subject's, and returns under which key it
// goes on, if it does.
func (m *Manager) end(ctx context.Context, subject, key string) (heir string, err error) {
	records, err := m.load(ctx, key)
	if err != nil || records[0].Version == 0 {
		return "", err
	}
	p, err := decodePayload(records[0].Data)
	if err != nil {
		return "", err
	}
	if subject == "" || p.Subject != subject || p.Ended != "" && !p.shows() {
		return "", nil
	}
	if p.From != "" {
		if _, err := m.retire(ctx, p.From, Record{Version: unknown}); err != nil {
			return "", err
		}
	}
	if err := m.destroy(ctx, key, records[0]); err != nil {
		if errors.Is(err, ErrNotFound) {
			err = nil
		}
		return "", err
	}
	if p.Ended == "" {
		m.stats.ended.Add(1)
	}
	return p.Heir, nil
}

// list returns the list of a subject's sessions, which may be empty, and its record.
func (m *Manager) list(ctx context.Context, subject string) (record Record, l list, err error) {
	records, err := m.load(ctx, listKey(subjectTag(m.name, subject)))
	if err != nil {
		return Record{}, list{}, err
	}
	if records[0].Version != 0 {
		if err := json.Unmarshal(records[0].Data, &l); err != nil {
			return Record{}, list{}, fmt.Errorf("%w: %w", ErrUnreadable, err)
		}
	}
	return records[0], l, nil
}

// living returns those sessions of a subject's list that are to be seen.
func (m *Manager) living(ctx context.Context, subject string, among []listing) ([]Listed, error) {
	if len(among) == 0 {
		return nil, nil
	}
	keys := []string{epochKey(subjectTag(m.name, subject))}
	for _, l := range among {
		keys = append(keys, l.Key)
	}
	records, err := m.load(ctx, keys...)
	if err != nil {
		return nil, err
	}
	epoch, now := string(records[0].Data), time.Now()
	var found []Listed
	for i, r := range records[1:] {
		if r.Version == 0 {
			continue
		}
		p, err := decodePayload(r.Data)
		if err != nil {
			m.noteUnreadable(keys[i+1], err)
			continue
		}
		if p.Ended != "" || p.Subject != subject || epoch != "" && epoch != p.Epoch || p.remaining(now, m.opts) <= time.Second {
			continue
		}
		found = append(found, Listed{
			ID: keys[i+1][len(sessionPrefix):], Begun: time.Unix(p.Created, 0), Expires: r.Expires,
			Remembered: p.Long, values: p.Values,
		})
	}
	return found, nil
}

// enlist puts a session that is about to be stored into its subject's list.
func (m *Manager) enlist(ctx context.Context, p payload, key string) error {
	for try := 0; ; try++ {
		record, l, err := m.list(ctx, p.Subject)
		if errors.Is(err, ErrUnreadable) {
			m.noteUnreadable(listKey(p.tag(m.name)), err)
			return nil // nobody could log in any more
		}
		if err != nil {
			return err
		}
		if l, err = m.room(ctx, p.Subject, l); err != nil {
			return err
		}
		l.Sessions = append(l.Sessions, listing{Key: key, Ends: p.ends(m.opts).Unix()})
		err = m.storeList(ctx, p.tag(m.name), record, l)
		switch {
		case err == nil:
			return nil
		case !errors.Is(err, ErrConflict) && !errors.Is(err, ErrExists) && !errors.Is(err, ErrNotFound):
			return err
		case !pause(ctx, try):
			return fmt.Errorf("%w: too many logins at once", ErrConflict)
		}
	}
}

// room makes room in a list for one more: what must have ended goes, what has ended if
// that is not enough, and then what began first.
func (m *Manager) room(ctx context.Context, subject string, l list) (list, error) {
	now := time.Now().Unix()
	l.Sessions = slices.DeleteFunc(l.Sessions, func(e listing) bool { return e.Ends <= now })
	if len(l.Sessions) < maxListed+slack {
		return l, nil
	}
	found, err := m.living(ctx, subject, l.Sessions)
	if err != nil && !errors.Is(err, ErrUnreadable) {
		return l, err
	}
	if err == nil {
		l.Sessions = slices.DeleteFunc(l.Sessions, func(e listing) bool {
			return !slices.ContainsFunc(found, func(f Listed) bool { return sessionPrefix+f.ID == e.Key })
		})
	}
	if over := len(l.Sessions) - (maxListed - 1); over > 0 {
		l.Sessions = slices.Delete(l.Sessions, 0, over)
	}
	return l, nil
}

// storeList stores a list, for as long as the last of its sessions may live.
func (m *Manager) storeList(ctx context.Context, tag string, record Record, l list) error {
	last := slices.MaxFunc(l.Sessions, func(a, b listing) int { return int(a.Ends - b.Ends) }).Ends
	ttl := max(time.Minute, time.Until(time.Unix(last, 0)))
	data, err := json.Marshal(l)
	if err != nil {
		return fmt.Errorf("session: encoding: %w", err)
	}
	return m.call(ctx, func(ctx context.Context) error {
		if record.Version == 0 {
			return m.store.Create(ctx, listKey(tag), data, ttl)
		}
		return m.store.Update(ctx, listKey(tag), record, data, ttl)
	})
}
