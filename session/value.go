package session

import (
	"encoding/json"
	"fmt"
)

// Value returns a copy of what the session holds under key, decoded from JSON
// into a T. ok is false, and v zero, if it holds nothing there. Changing v
// changes nothing in the session.
//
// The error is ErrUnavailable, or says that the value is no T.
func Value[T any](s *Session, key string) (v T, ok bool, err error) {
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

func decode[T any](key string, raw json.RawMessage) (v T, err error) {
	if err := json.Unmarshal(raw, &v); err != nil {
		return *new(T), fmt.Errorf("session: key %q: %w", key, err)
	}
	return v, nil
}

func encode(key string, v any) (json.RawMessage, error) {
	raw, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("session: key %q: %w", key, err)
	}
	return raw, nil
}
