// Package redisstorage keeps what acme keeps in Redis, so that gateways share it. It
// holds private keys, as they are: who can read that Redis can be the shop.
package redisstorage

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/foretier/foretier/router/edge/acme"
)

// Storage is an [acme.Storage] in one hash of a Redis, which must not evict it, beside
// a key for each lock. It is safe for concurrent use.
type Storage struct {
	client redis.UniversalClient
	prefix string

	mu    sync.Mutex
	locks map[string]*lock // guarded by mu: those that are held here
}

var _ acme.Storage = (*Storage)(nil)

// A lock is held by renewing it.
type lock struct {
	token string
	stop  context.CancelFunc
	ended chan struct{}
}

const (
	lockTime = 30 * time.Second       // after which another may have the lock of a gateway that died
	lockPoll = 500 * time.Millisecond // of those that wait for one
)

// New returns a storage that begins its keys with prefix; empty means "foretier:acme".
// The client should end its calls with their contexts ([redis.Options.ContextTimeoutEnabled]).
func New(client redis.UniversalClient, prefix string) *Storage {
	if prefix == "" {
		prefix = "foretier:acme"
	}
	return &Storage{client: client, prefix: prefix, locks: make(map[string]*lock)}
}

// What is kept of a value: when it was stored, in milliseconds, and the value.
func pack(value []byte, now time.Time) []byte {
	return append(binary.BigEndian.AppendUint64(nil, uint64(now.UnixMilli())), value...)
}

func unpack(data []byte) (value []byte, stored time.Time, err error) {
	if len(data) < 8 {
		return nil, time.Time{}, fmt.Errorf("redisstorage: a value of %d bytes: want one that was stored here", len(data))
	}
	return data[8:], time.UnixMilli(int64(binary.BigEndian.Uint64(data))), nil
}

// Store implements [acme.Storage].
func (s *Storage) Store(ctx context.Context, key string, value []byte) error {
	return told(s.client.HSet(ctx, s.prefix, key, pack(value, time.Now())).Err())
}

// Load implements [acme.Storage]. It returns [fs.ErrNotExist] for what is not there.
func (s *Storage) Load(ctx context.Context, key string) ([]byte, error) {
	data, err := s.client.HGet(ctx, s.prefix, key).Bytes()
	if err != nil {
		return nil, told(err)
	}
	value, _, err := unpack(data)
	return value, err
}

// Delete implements [acme.Storage]: all below a key goes with it.
func (s *Storage) Delete(ctx context.Context, key string) error {
	keys, err := s.below(ctx, key)
	if err != nil {
		return err
	}
	return told(s.client.HDel(ctx, s.prefix, append(keys, key)...).Err())
}

// Exists implements [acme.Storage].
func (s *Storage) Exists(ctx context.Context, key string) bool {
	if there, err := s.client.HExists(ctx, s.prefix, key).Result(); err != nil || there {
		return there
	}
	keys, err := s.below(ctx, key)
	return err == nil && len(keys) > 0
}

// List implements [acme.Storage].
func (s *Storage) List(ctx context.Context, path string, recursive bool) ([]string, error) {
	keys, err := s.below(ctx, path)
	if err != nil {
		return nil, err
	}
	start := 0
	if path != "" {
		start = len(path) + 1
	}
	var out []string
	seen := make(map[string]bool)
	for _, key := range keys {
		for i := start; i <= len(key); i++ {
			if i < len(key) && key[i] != '/' {
				continue
			}
			if name := key[:i]; !seen[name] {
				seen[name] = true
				out = append(out, name)
			}
			if !recursive {
				break
			}
		}
	}
	if len(out) == 0 {
		return nil, fs.ErrNotExist
	}
	return out, nil
}

// Stat implements [acme.Storage].
func (s *Storage) Stat(ctx context.Context, key string) (info acme.KeyInfo, err error) {
	data, err := s.client.HGet(ctx, s.prefix, key).Bytes()
	switch {
	case errors.Is(err, redis.Nil) && s.Exists(ctx, key):
		return acme.KeyInfo{Key: key}, nil
	case err != nil:
		return info, told(err)
	}
	value, stored, err := unpack(data)
	return acme.KeyInfo{Key: key, Modified: stored, Size: int64(len(value)), IsTerminal: true}, err
}

// below returns the keys below a path. There are few: some for each certificate.
func (s *Storage) below(ctx context.Context, path string) (below []string, err error) {
	keys, err := s.client.HKeys(ctx, s.prefix).Result()
	if err != nil {
		return nil, told(err)
	}
	for _, key := range keys {
		if path == "" || strings.HasPrefix(key, path+"/") {
			below = append(below, key)
		}
	}
	return below, nil
}

func (s *Storage) lockKey(name string) string { return s.prefix + ":lock:" + name }

var (
	renew = redis.NewScript(`
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
return 0`)
	release = redis.NewScript(`
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0`)
)

// Lock implements [acme.Storage]. It waits until it has the lock, or ctx ends. One that
// is held by a gateway which died is free after half a minute. A Redis that forgets may
// give one twice: two certificates are ordered then, and one of them is served.
func (s *Storage) Lock(ctx context.Context, name string) error {
	token := rand.Text()
	for {
		got, err := s.client.SetNX(ctx, s.lockKey(name), token, lockTime).Result()
		if err != nil {
			return told(err)
		}
		if got {
			s.hold(name, token)
			return nil
		}
		select {
		case <-time.After(lockPoll):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// hold renews a lock until it is released.
func (s *Storage) hold(name, token string) {
	ctx, stop := context.WithCancel(context.Background())
	l := &lock{token, stop, make(chan struct{})}
	s.mu.Lock()
	s.locks[name] = l
	s.mu.Unlock()
	go func() {
		defer close(l.ended)
		tick := time.NewTicker(lockTime / 3)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				_ = renew.Run(ctx, s.client, []string{s.lockKey(name)}, token, lockTime.Milliseconds()).Err() // the next may do better
			case <-ctx.Done():
				return
			}
		}
	}()
}

// Unlock implements [acme.Storage].
func (s *Storage) Unlock(ctx context.Context, name string) error {
	s.mu.Lock()
	l := s.locks[name]
	delete(s.locks, name)
	s.mu.Unlock()
	if l == nil {
		return fmt.Errorf("redisstorage: lock %q is not held here", name)
	}
	l.stop()
	<-l.ended
	// It is given back even if what it was for was cancelled.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	return told(release.Run(ctx, s.client, []string{s.lockKey(name)}, l.token).Err())
}

// told returns what certmagic knows an error by.
func told(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, redis.Nil):
		return fs.ErrNotExist
	}
	return fmt.Errorf("redisstorage: %w", err)
}
