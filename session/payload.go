package session

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"time"
)

// MaxSize is the most that a session may hold, in bytes of JSON.
const MaxSize = 64 << 10

// values are a session's, each as JSON.
type values map[string]json.RawMessage

// payload is what a record's data says of a session.
type payload struct {
	Created int64  `json:"at"`              // seconds since 1970
	Subject string `json:"sub,omitempty"`   // whose session it is
	Epoch   string `json:"epoch,omitempty"` // the subject's, as at their login; see [Manager.Revoke]
	Long    bool   `json:"long,omitempty"`  // it is remembered: see [Session.Remember]
	Ended   string `json:"ended,omitempty"` // a tombstone: how it ended
	Values  values `json:"v,omitempty"`
	// Heir stands in a tombstone: the key of the session that this one goes on
	// as. Once the heir has been destroyed, or the subject with the tag Tag has
	// another epoch than Since, the tombstone shows nothing any more.
	Heir  string `json:"heir,omitempty"`
	Tag   string `json:"tag,omitempty"`
	Since string `json:"since,omitempty"`
	// From is the key of the tombstone that the session came from beside its
	// heir: if the session is destroyed, the tombstone shows nothing any more.
	From string `json:"from,omitempty"`
}

func (p payload) encode() ([]byte, error) {
	data, err := json.Marshal(p)
	if err != nil {
		return nil, fmt.Errorf("session: encoding: %w", err)
	}
	if len(data) > MaxSize {
		return nil, fmt.Errorf("%w: %d bytes, at most %d", ErrTooLarge, len(data), MaxSize)
	}
	return data, nil
}

// decodePayload reads what encode wrote. What says more than this version
// knows is unreadable too: it would be lost when the session is written again.
func decodePayload(data []byte) (p payload, err error) {
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(&p); err != nil {
		return payload{}, fmt.Errorf("%w: %w", ErrUnreadable, err)
	}
	if p.Created <= 0 || d.InputOffset() != int64(len(data)) {
		return payload{}, fmt.Errorf("%w: not a session's", ErrUnreadable)
	}
	return p, nil
}

// remaining returns how long the session lives on if it is used now.
func (p payload) remaining(now time.Time, opts Options) time.Duration {
	left := p.ends(opts).Sub(now)
	if p.Long {
		return left
	}
	return min(opts.Idle, left)
}

// ends returns when the session ends, used or not.
func (p payload) ends(opts Options) time.Time {
	lifetime := opts.Lifetime
	if p.Long {
		lifetime = opts.Remember
	}
	return time.Unix(p.Created, 0).Add(lifetime)
}

// tag returns the tag of the session's subject, or "" without one.
func (p payload) tag(name string) string {
	if p.Subject == "" {
		return ""
	}
	return subjectTag(name, p.Subject)
}

// change is what a request did to one key: set it, removed it, or a function
// of its old value.
type change struct {
	key     string
	raw     json.RawMessage // the new value; nil: remove it
	guarded bool            // raw may be based on the value loaded: it must still stand

	f    function        // nil, or what made raw
	from json.RawMessage // of which value; nil: of none
}

// function makes a new value of an old one; ok is false if there was none.
type function func(old json.RawMessage, ok bool) (json.RawMessage, error)

// apply returns now with changes made to it, and now itself if they change
// nothing. loaded are the values that the request started from: a guarded
// change of a key that differs between loaded and now is an ErrConflict.
func apply(loaded, now values, changes []change) (values, error) {
	out, copied := now, false
	for _, c := range changes {
		old, ok := out[c.key]
		raw := c.raw
		switch {
		case c.f != nil:
			if bytes.Equal(old, c.from) && ok == (c.from != nil) {
				break // it would make the same of it
			}
			var err error
			if raw, err = c.f(old, ok); err != nil {
				return nil, err
			}
		case c.guarded && !bytes.Equal(loaded[c.key], now[c.key]):
			return nil, fmt.Errorf("%w: key %q", ErrConflict, c.key)
		}
		if bytes.Equal(raw, old) && (raw == nil) == !ok {
			continue
		}
		if !copied {
			out, copied = maps.Clone(out), true
			if out == nil {
				out = make(values)
			}
		}
		if raw == nil {
			delete(out, c.key)
		} else {
			out[c.key] = raw
		}
	}
	return out, nil
}

// same reports whether a and b hold the same.
func same(a, b values) bool {
	return maps.EqualFunc(a, b, func(x, y json.RawMessage) bool { return bytes.Equal(x, y) })
}

func (v values) size() (n int) {
	for key, raw := range v {
		n += len(key) + len(raw) + 4 // quotes, colon, comma
	}
	return n
}
