package cachetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/foretier/foretier/cache"
)

// A Store is what gateways share by [cache.Options.Store], in memory, and fails as a
// test wants it to. The zero value is empty. Safe for concurrent use.
type Store struct {
	// Link is what becomes of a message from a gateway to the store or back: it takes
	// a while, or is lost, which is an error. Nil: it is there at once. It is set
	// before the store is used.
	Link func(gateway string) (time.Duration, error)

	mu     sync.Mutex
	kept   map[string]kept // guarded by mu
	leases map[string]held // guarded by mu
}

type kept struct {
	data  []byte
	until time.Time
}

type held struct {
	holder string
	until  time.Time
}

// Join returns the store as one gateway sees it.
func (s *Store) Join(gateway string) cache.Store { return &shelf{s, gateway} }

// Lose loses all that is in the store.
func (s *Store) Lose() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.kept, s.leases = nil, nil
}

// Change puts what change makes of it in the place of everything that is kept; nil
// loses it.
func (s *Store) Change(change func(key string, data []byte) []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key, k := range s.kept {
		if k.data = change(key, slices.Clone(k.data)); k.data == nil {
			delete(s.kept, key)
			continue
		}
		s.kept[key] = k
	}
}

// A shelf is a store as one gateway sees it.
type shelf struct {
	store   *Store
	gateway string
}

// call carries a request to the store, has it done, and carries the answer back.
func (s *shelf) call(ctx context.Context, do func(*Store)) error {
	if err := send(ctx, s.store.Link, s.gateway); err != nil {
		return fmt.Errorf("cachetest: %w", err)
	}
	s.store.mu.Lock()
	do(s.store)
	s.store.mu.Unlock()
	if err := send(ctx, s.store.Link, s.gateway); err != nil {
		return fmt.Errorf("cachetest: the answer: %w", err)
	}
	return nil
}

// Load implements [cache.Store].
func (s *shelf) Load(ctx context.Context, key string) (data []byte, err error) {
	err = s.call(ctx, func(all *Store) {
		if k, ok := all.kept[key]; ok && time.Now().Before(k.until) {
			data = slices.Clone(k.data)
		}
	})
	if err == nil && data == nil {
		err = fmt.Errorf("cachetest: %w", cache.ErrAbsent)
	}
	return data, err
}

var errLifetime = errors.New("cachetest: a lifetime must be positive")

// Save implements [cache.Store].
func (s *shelf) Save(ctx context.Context, key string, data []byte, lifetime time.Duration) error {
	if lifetime <= 0 {
		return errLifetime
	}
	return s.call(ctx, func(all *Store) {
		if all.kept == nil {
			all.kept = make(map[string]kept)
		}
		all.kept[key] = kept{slices.Clone(data), time.Now().Add(lifetime)}
	})
}

// Lease implements [cache.Store].
func (s *shelf) Lease(ctx context.Context, key, holder string, d time.Duration) (got bool, err error) {
	if d <= 0 {
		return false, errLifetime
	}
	err = s.call(ctx, func(all *Store) {
		now := time.Now()
		l, ok := all.leases[key]
		if ok && now.Before(l.until) {
			got = l.holder == holder
			return
		}
		if all.leases == nil {
			all.leases = make(map[string]held)
		}
		all.leases[key], got = held{holder, now.Add(d)}, true
	})
	return got, err
}

// Release implements [cache.Store].
func (s *shelf) Release(ctx context.Context, key, holder string) error {
	return s.call(ctx, func(all *Store) {
		if all.leases[key].holder == holder {
			delete(all.leases, key)
		}
	})
}
