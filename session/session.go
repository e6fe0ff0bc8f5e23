package session

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"sync"
	"time"
	"unicode/utf8"
)

// A Session is what one request sees of its visitor's data: the values as they
// were when the request first used them, with its own changes on top. It is
// safe for concurrent use while its request is served.
//
// Its methods return ErrUnavailable if the store is out, ErrReadOnly where
// nothing can be changed, and ErrTooLarge beyond [MaxSize]. Changes are saved
// before the first byte of the response, those made later when the handler
// returns. A session that was not used by then cannot be used any more if the
// header lets shared caches keep the response: ErrBegun.
type Session struct {
	m *Manager
	r *http.Request

	saving sync.Mutex // held while a draft is being stored; taken before mu

	// mu guards all below. It is held while the session is loaded, for which
	// only this request's own goroutines ever wait, but not while a function
	// of the caller's runs.
	mu    sync.Mutex
	sent  bool // the response's header has gone out
	open  bool // it did so before the session was used, and lets caches share the response
	*view      // nil until the session is first used
}

// A view is what a request knows of its session once it has used it.
type view struct {
	err      error  // why it could not be loaded
	ended    string // how the session had ended when it was loaded; see payload
	browser  ticket // what the browser has and is good
	readOnly bool
	present  bool // the browser has sent something, good or not
	logout   bool // Destroy was called
	draft    draft
	now      values          // the draft's base with its changes
	version  int             // of now
	read     map[string]bool // keys whose values were looked at
	unlock   func()          // gives up the lock; nil: none is held
}

// Set replaces what the session holds under key by v, as JSON. What JSON would
// change on the way is an error: ErrNotUTF8. If this request
// has looked at the key with [Value], v counts as based on what it saw: saving
// fails with ErrConflict, and the client gets 409, if another request changed
// the key in between. To change a value rather than replace it, use [Update].
func (s *Session) Set(key string, v any) error {
	raw, err := encode(key, v)
	if err != nil {
		return err
	}
	return s.change(change{key: key, raw: raw})
}

// Delete removes what the session holds under key. It conflicts as Set does.
func (s *Session) Delete(key string) error {
	return s.change(change{key: key})
}

// Renew gives the session a new id, so that an id which somebody learned
// before shows nothing of what is written from now on.
//
// For a minute the old id still shows the values from before, so that a visitor
// whose answer got lost is not logged out. Requests that come with it in that
// time are answered 409 if they change something, and get no cookie, unless
// they renew or log in themselves: each of those gets a session of its own,
// made of what stood before. [Session.Destroy] and [Manager.Revoke] end the
// minute at once.
func (s *Session) Renew() error {
	return s.alter(true, func() { s.draft.renew = true })
}

// Subject says whose session it is, from now on: a user's name or number. It
// implies [Session.Renew], as a login should, and begins a new lifetime. Empty
// means nobody's again. [Manager.Revoke] ends all sessions of a subject.
//
// For a minute after a visitor's login the old id shows the values from before
// it, as after Renew, so that a login whose answer got lost can be made again.
// When one subject's session becomes another's, or nobody's, the old id shows
// nothing.
func (s *Session) Subject(subject string) error {
	if s == nil {
		return ErrNoManager
	}
	if !utf8.ValidString(subject) {
		return fmt.Errorf("%w: subject %q", ErrNotUTF8, subject)
	}
	if err := s.alter(true, func() {}); err != nil {
		return err
	}
	to := login{name: subject}
	if subject != "" {
		records, err := s.m.load(s.r.Context(), epochKey(subjectTag(s.m.name, subject)))
		if err != nil {
			return s.fail(err)
		}
		to.epoch = string(records[0].Data)
	}
	return s.alter(true, func() { s.draft.subject, s.draft.renew = &to, true })
}

// Remember says whether the session is to be remembered: "keep me logged in". Then it
// lives for [Options].Remember from its beginning, used or not, and its cookie outlives
// the browser's window. It belongs beside Subject, in the request of a login, before
// or after it; the next login forgets it. It implies [Session.Renew].
func (s *Session) Remember(on bool) error {
	long := asAny
	if on {
		long = remembered
	}
	return s.alter(true, func() { s.draft.long, s.draft.renew = long, true })
}

// Destroy ends the session: its values are gone, also under an id that it had
// before a renewal, and what other requests of it have still under way cannot
// bring them back. What is set afterwards begins a new session.
func (s *Session) Destroy() error {
	return s.alter(false, func() {
		d := &s.draft
		d.destroy = d.destroy || d.record.Version != 0 || d.from.key != ""
		d.changes, d.renew, d.subject, d.long = nil, false, nil, asItWas
		s.now, s.read = nil, nil
		s.logout = true
		s.version++
	})
}

// Save saves the changes made so far: for handlers that stream, whose changes
// after the first byte are else saved when they return, and for those who must
// know before they answer. ErrEnded means that the session is gone and the
// changes with it; ErrConflict that a key which was read and then set has been
// changed by another request.
func (s *Session) Save() error {
	if s == nil {
		return ErrNoManager
	}
	return s.save(true)
}

// value returns the raw value of key.
func (s *Session) value(key string) (json.RawMessage, bool, error) {
	if s == nil {
		return nil, false, ErrNoManager
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.loadLocked(); err != nil {
		return nil, false, err
	}
	if s.read == nil {
		s.read = make(map[string]bool)
	}
	s.read[key] = true
	raw, ok := s.now[key]
	return raw, ok, nil
}

// Keys returns the keys under which the session holds something, sorted. What is
// under them does not count as looked at.
func (s *Session) Keys() ([]string, error) {
	if s == nil {
		return nil, ErrNoManager
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.loadLocked(); err != nil {
		return nil, err
	}
	return slices.Sorted(maps.Keys(s.now)), nil
}

// pop has the value of key read, outside the lock, and deletes what was read.
func (s *Session) pop(key string, read func(json.RawMessage) error) (popped bool, err error) {
	for {
		raw, ok, err := s.value(key)
		if err != nil || !ok {
			return false, err
		}
		if err := read(raw); err != nil {
			return false, err
		}
		s.mu.Lock()
		err = s.writableLocked(false)
		same := err == nil && bytes.Equal(raw, s.now[key]) // else another goroutine came first
		if same {
			err = s.applyLocked(change{key: key, guarded: true})
		}
		s.mu.Unlock()
		if err != nil || same {
			return err == nil, err
		}
	}
}

// change applies c, and keeps it to be saved.
func (s *Session) change(c change) error {
	if s == nil {
		return ErrNoManager
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.writableLocked(false); err != nil {
		return err
	}
	c.guarded = s.read[c.key]
	return s.applyLocked(c)
}

// update applies f to the value of key, outside the lock, until nobody else in
// this request changed it meanwhile.
func (s *Session) update(key string, f function) error {
	if s == nil {
		return ErrNoManager
	}
	for {
		s.mu.Lock()
		if err := s.writableLocked(false); err != nil {
			s.mu.Unlock()
			return err
		}
		old, ok := s.now[key]
		version := s.version
		s.mu.Unlock()

		raw, err := f(old, ok)
		if err != nil {
			return err
		}

		s.mu.Lock()
		if s.version == version {
			err := s.applyLocked(change{key: key, raw: raw, f: f, from: old})
			s.mu.Unlock()
			return err
		}
		s.mu.Unlock()
	}
}

// applyLocked makes a change to what this request sees, and notes it to be saved.
func (s *Session) applyLocked(c change) error {
	now := maps.Clone(s.now)
	if now == nil {
		now = make(values)
	}
	if c.raw == nil {
		delete(now, c.key)
	} else {
		now[c.key] = c.raw
	}
	if n := now.size(); n > MaxSize {
		return fmt.Errorf("%w: %d bytes with key %q, at most %d", ErrTooLarge, n, c.key, MaxSize)
	}
	s.now = now
	s.draft.changes = append(s.draft.changes, c)
	s.version++
	return nil
}

// alter does f, which changes more than values, to a loaded session.
func (s *Session) alter(cookie bool, f func()) error {
	if s == nil {
		return ErrNoManager
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.writableLocked(cookie); err != nil {
		return err
	}
	f()
	return nil
}

// writableLocked loads the session and says why it cannot be changed. cookie
// says that the change needs a new cookie, as any does without a session.
func (s *Session) writableLocked(cookie bool) error {
	if err := s.loadLocked(); err != nil {
		return err
	}
	if s.readOnly {
		return ErrReadOnly
	}
	if s.sent && (cookie || s.draft.record.Version == 0 && s.ended == "") {
		return ErrBegun
	}
	return nil
}

// isUsed reports whether the response, whose header goes out now, may depend on
// the session. shared says that caches may share it: then, if it does not yet,
// it shall not later.
func (s *Session) isUsed(shared bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open = shared && s.view == nil
	return s.view != nil
}

// loadLocked fills the state at first use.
func (s *Session) loadLocked() error {
	if s.view != nil {
		return s.err
	}
	if s.open {
		return ErrBegun
	}
	s.view = new(view)
	var t ticket
	t, s.present = s.m.carrier.read(s.r)
	if t.id == "" {
		s.readOnly = !s.present && s.m.carrier.overwrites(s.r)
		return nil
	}
	keys := append(make([]string, 0, 2), t.key(s.m.name))
	if t.tag != "" {
		keys = append(keys, epochKey(t.tag))
	}
	records, err := s.m.load(s.r.Context(), keys...)
	if errors.Is(err, ErrUnreadable) {
		// One of them; and a session of which nobody can tell whether it was
		// revoked is none.
		s.m.noteUnreadable(keys[0], err)
		return nil
	}
	if err != nil {
		return s.failLocked(err)
	}
	if records[0].Version == 0 {
		if time.Since(t.issued()) < s.m.opts.Idle*9/10 {
			s.m.stats.missing.Add(1)
		}
		return nil
	}
	p, err := decodePayload(records[0].Data)
	if err != nil {
		s.m.noteUnreadable(keys[0], err)
		return nil
	}
	dead := false
	if p.shows() {
		if dead, err = s.m.outlived(s.r.Context(), p); err != nil {
			return s.failLocked(err)
		}
	}
	var epoch string
	if t.tag != "" {
		epoch = string(records[1].Data)
	}
	s.foundLocked(t, records[0], p, dead, epoch, time.Now())
	return nil
}

// foundLocked takes over what the store holds under t, if it is still good.
// dead says that it is a tombstone whose time is over.
func (s *Session) foundLocked(t ticket, record Record, p payload, dead bool, epoch string, now time.Time) {
	s.ended = p.Ended
	switch {
	case p.tag(s.m.name) != t.tag: // somebody took the tag off, to get around Revoke
	case epoch != "" && epoch != p.Epoch: // revoked
	case p.remaining(now, s.m.opts) <= time.Second: // past its lifetime
	case p.shows() && !dead:
		s.now = p.Values
		s.draft = draft{base: p.before(), from: grave{t.key(s.m.name), record, p}}
	case p.Ended == "":
		s.browser, s.now = t, p.Values
		s.draft = draft{ticket: t, record: record, base: p}
	}
}

// fail is failLocked for a call that was made to change something.
func (s *Session) fail(err error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.failLocked(err); err != nil {
		return err
	}
	return ErrReadOnly
}

// failLocked decides what the request gets for a store that is out.
func (s *Session) failLocked(err error) error {
	if s.m.opts.Degrade != nil && s.m.opts.Degrade(s.r) {
		s.readOnly = true
		return nil
	}
	s.err = err
	return err
}
