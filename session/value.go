package session

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"unicode/utf8"
)

// A Holder holds values that can be looked at: a *[Session], or a [Listed].
type Holder interface {
	value(key string) (json.RawMessage, bool, error)
}

// Value returns a copy of what the session holds under key, decoded from JSON
// into a T. ok is false, and v zero, if it holds nothing there. Changing v
// changes nothing in the session.
//
// In an interface a number is a float64, as [json.Unmarshal] makes it, unless
// it is an integer that a float64 would round: an int64 or, beyond that, a
// uint64 or a [json.Number].
//
// The error is ErrUnavailable, or says that the value is no T.
func Value[T any](s Holder, key string) (v T, ok bool, err error) {
	if s == nil {
		return v, false, ErrNoManager
	}
	raw, ok, err := s.value(key)
	if err != nil || !ok {
		return v, false, err
	}
	v, err = decode[T](key, raw)
	return v, err == nil, err
}

// Update replaces what the session holds under key by what f makes of it. ok
// is false, and old zero, if it holds nothing there. An error of f's is
// returned and nothing is changed.
//
// f is run at once, and again, with the then current value, whenever another
// request changed the session before this one's changes were saved. So it must
// depend on old and on nothing else that changes, and must not use the session.
// If it fails then, saving fails with its error.
func Update[T any](s *Session, key string, f func(old T, ok bool) (T, error)) error {
	return s.update(key, func(raw json.RawMessage, ok bool) (json.RawMessage, error) {
		var old T
		if ok {
			var err error
			if old, err = decode[T](key, raw); err != nil {
				return nil, err
			}
		}
		v, err := f(old, ok)
		if err != nil {
			return nil, err
		}
		return encode(key, v)
	})
}

// Pop is [Value], and deletes what it returns: for what is used once, such as a message
// to be shown on the next page, or the state of a login elsewhere. Of requests that pop
// it at once one gets it. The others fail with ErrConflict when they are saved, and
// their clients get 409. What is no T stays.
func Pop[T any](s *Session, key string) (v T, ok bool, err error) {
	ok, err = s.pop(key, func(raw json.RawMessage) (err error) {
		v, err = decode[T](key, raw)
		return err
	})
	if !ok {
		v = *new(T) // which another goroutine has popped, or which cannot be
	}
	return v, ok, err
}

func decode[T any](key string, raw json.RawMessage) (v T, err error) {
	into := reflect.ValueOf(&v).Elem()
	if !holdsAny(into.Type()) {
		err = json.Unmarshal(raw, &v)
	} else {
		d := json.NewDecoder(bytes.NewReader(raw))
		d.UseNumber()
		if err = d.Decode(&v); err == nil {
			settleNumbers(into)
		}
	}
	if err != nil {
		return *new(T), fmt.Errorf("session: key %q: %w", key, err)
	}
	return v, nil
}

// ErrNotUTF8 means that a key, a subject or a string in a value is not UTF-8:
// JSON would change it. Bytes are kept as a []byte.
var ErrNotUTF8 = errors.New("session: not UTF-8")

func encode(key string, v any) (json.RawMessage, error) {
	if !utf8.ValidString(key) {
		return nil, fmt.Errorf("%w: key %q", ErrNotUTF8, key)
	}
	raw, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("session: key %q: %w", key, err)
	}
	if replaced(raw) {
		return nil, fmt.Errorf("%w: a string under key %q", ErrNotUTF8, key)
	}
	return raw, nil
}

// replaced reports whether a string in raw is not what it was: the encoder
// writes U+FFFD as it is, and as an escape only in place of what is not UTF-8.
func replaced(raw []byte) bool {
	const escape = `\ufffd`
	for rest := raw; ; {
		i := bytes.Index(rest, []byte(escape))
		if i < 0 {
			return !utf8.Valid(raw) // of a type that makes its JSON itself
		}
		before := rest[:i]
		if (len(before)-len(bytes.TrimRight(before, `\`)))%2 == 0 { // else the backslash is itself escaped
			return true
		}
		rest = rest[i+len(escape):]
	}
}
