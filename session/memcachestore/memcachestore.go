// Package memcachestore keeps sessions on memcached.
//
//	client := memcache.New("10.0.0.5:11211")
//	client.MaxIdleConns = 100
//	sessions, err := session.New(memcachestore.New(client), session.Options{})
//
// memcached drops what was not used for long when its memory is full, and all
// of it when it ends: visitors then lose their carts, and a subject whose
// sessions were revoked could get them back. Give it room, watch evictions,
// and prefer Redis where that matters. MaxIdleConns should be at least the
// number of requests at one time; its default of 2 opens a connection for
// nearly every call.
package memcachestore

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/bradfitz/gomemcache/memcache"

	"github.com/foretier/foretier/internal/breaker"
	"github.com/foretier/foretier/session"
)

// prefix stands before all keys in memcached; with a key of at most 64 bytes
// it stays below the 250 that memcached takes.
const prefix = "session:"

// An item is when it expires (8 bytes, big endian, in milliseconds since 1970)
// and the data. A touch has to rewrite it, since memcached does not say when
// an item expires.
const headSize = 8

// A Store is a [session.Store] on memcached. Each of its calls is one round
// trip.
type Store struct {
	client *memcache.Client
	leash  *breaker.Leash
}

// New returns a Store that uses client, which stays the caller's. The client
// library knows no contexts: each call is made in a goroutine that is left
// behind when its time is over, and ends by the client's own Timeout.
func New(client *memcache.Client) *Store {
	return &Store{client: client, leash: breaker.NewLeash(1024)}
}

// Close waits for calls that were left behind. It does not close the client.
func (s *Store) Close() error { return s.leash.Close() }

// Load implements [session.Store].
func (s *Store) Load(ctx context.Context, keys ...string) ([]session.Record, error) {
	names := make([]string, len(keys))
	for i, key := range keys {
		names[i] = prefix + key
	}
	items, err := breaker.Call(ctx, s.leash, func() (map[string]*memcache.Item, error) {
		return s.client.GetMulti(names)
	})
	if err != nil {
		return nil, answer(err, nil)
	}
	records := make([]session.Record, len(keys))
	for i, name := range names {
		item := items[name]
		if item == nil {
			continue
		}
		if len(item.Value) < headSize || item.CasID == 0 {
			return nil, fmt.Errorf("memcachestore: an item that is no session: use a memcached of its own: %w", session.ErrUnreadable)
		}
		records[i] = session.Record{
			Data:    item.Value[headSize:],
			Version: item.CasID,
			Expires: time.UnixMilli(int64(binary.BigEndian.Uint64(item.Value))),
		}
	}
	return records, nil
}

// Create implements [session.Store].
func (s *Store) Create(ctx context.Context, key string, data []byte, ttl time.Duration) error {
	return s.do(ctx, session.ErrExists, func() error {
		return s.client.Add(item(key, session.Record{}, data, ttl))
	})
}

// Update implements [session.Store].
func (s *Store) Update(ctx context.Context, key string, old session.Record, data []byte, ttl time.Duration) error {
	return s.do(ctx, session.ErrNotFound, func() error {
		return s.client.CompareAndSwap(item(key, old, data, ttl))
	})
}

// Touch implements [session.Store]. It answers ErrConflict if the record has
// been changed since it was loaded.
func (s *Store) Touch(ctx context.Context, key string, old session.Record, ttl time.Duration) error {
	return s.Update(ctx, key, old, old.Data, ttl)
}

// Delete implements [session.Store].
func (s *Store) Delete(ctx context.Context, key string, old session.Record) error {
	return s.do(ctx, session.ErrNotFound, func() error {
		// There is no delete that compares, but an item may be set to have
		// expired already.
		gone := item(key, old, nil, 0)
		gone.Expiration = -1
		err := s.client.CompareAndSwap(gone)
		if !errors.Is(answer(err, nil), session.ErrFull) {
			return err
		}
		// There is no room even for that: as near as it comes to comparing.
		now, err := s.client.Get(gone.Key)
		switch {
		case err != nil:
			return err
		case now.CasID != old.Version:
			return memcache.ErrCASConflict
		}
		return s.client.Delete(gone.Key)
	})
}

// do makes one call; notStored is what memcached's NOT_STORED means there.
func (s *Store) do(ctx context.Context, notStored error, f func() error) error {
	_, err := breaker.Call(ctx, s.leash, func() (struct{}, error) { return struct{}{}, f() })
	return answer(err, notStored)
}

// answer turns the client's errors into those of a [session.Store].
func answer(err, notStored error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, memcache.ErrCASConflict):
		return session.ErrConflict
	case errors.Is(err, memcache.ErrCacheMiss):
		return session.ErrNotFound
	case errors.Is(err, memcache.ErrNotStored) && notStored != nil:
		return notStored
	}
	if full, refused := refusal(err.Error()); full {
		return fmt.Errorf("memcachestore: %w: %w", session.ErrFull, err)
	} else if refused {
		return fmt.Errorf("memcachestore: %w: %w", session.ErrRefused, err)
	}
	return fmt.Errorf("memcachestore: %w", err)
}

// refusal reads an error of the client library, which has no type for what a
// server says: SERVER_ERROR is an answer of one that is there, but for what a
// proxy says of one that is not.
func refusal(said string) (full, refused bool) {
	_, said, refused = strings.Cut(said, "SERVER_ERROR")
	for _, words := range [...]string{"timed out", "timeout", "refused", "down", "unavailable", "unreachable", "reset", "no route"} {
		if strings.Contains(strings.ToLower(said), words) {
			return false, false
		}
	}
	return refused && strings.Contains(said, "out of memory"), refused
}

func item(key string, old session.Record, data []byte, ttl time.Duration) *memcache.Item {
	expires := time.Now().Add(ttl)
	value := make([]byte, 0, headSize+len(data))
	value = binary.BigEndian.AppendUint64(value, uint64(expires.UnixMilli()))
	return &memcache.Item{
		Key:   prefix + key,
		Value: append(value, data...),
		CasID: old.Version,
		// As a date: beyond 30 days memcached takes a number of seconds for
		// one, in 1970. It counts in whole seconds: round up.
		Expiration: int32(expires.Add(time.Second - 1).Unix()),
	}
}
