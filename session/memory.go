package session

import (
	"context"
	"hash/maphash"
	"sync"
	"time"
)

const (
	memoryShards = 64
	memoryLimit  = 256 << 20 // bytes, an estimate
	recordCost   = 256       // a record's bytes beside key and data, about
)

// Memory returns a [Store] in this process's memory: for one machine, and for
// tests. It ends with the process. It holds about 256 MiB; beyond that no
// record is created until others have expired, since dropping one would lose
// somebody's cart.
func Memory() Store {
	m := &memory{seed: maphash.MakeSeed()}
	for i := range m.shards {
		m.shards[i].records = make(map[string]Record)
		m.shards[i].limit = memoryLimit / memoryShards
	}
	return m
}

type memory struct {
	seed   maphash.Seed
	shards [memoryShards]shard
}

type shard struct {
	mu      sync.Mutex
	records map[string]Record // guarded by mu
	bytes   int               // guarded by mu
	version uint64            // guarded by mu; the last one given
	limit   int
}

func (m *memory) shard(key string) *shard {
	return &m.shards[maphash.String(m.seed, key)%memoryShards]
}

// Load implements [Store].
func (m *memory) Load(ctx context.Context, keys ...string) ([]Record, error) {
	now := time.Now()
	out := make([]Record, len(keys))
	for i, key := range keys {
		s := m.shard(key)
		s.mu.Lock()
		out[i], _ = s.findLocked(key, now)
		s.mu.Unlock()
	}
	return out, ctx.Err()
}

// Create implements [Store].
func (m *memory) Create(ctx context.Context, key string, data []byte, ttl time.Duration) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	now := time.Now()
	s := m.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.findLocked(key, now); ok {
		return ErrExists
	}
	s.sweepLocked(now, 8)
	if s.bytes+cost(key, data) > s.limit {
		s.sweepLocked(now, len(s.records))
	}
	if s.bytes+cost(key, data) > s.limit {
		return ErrFull
	}
	s.putLocked(key, data, now.Add(ttl))
	return nil
}

// Update implements [Store].
func (m *memory) Update(ctx context.Context, key string, old Record, data []byte, ttl time.Duration) error {
	return m.change(ctx, key, old, func(s *shard, now time.Time) { s.putLocked(key, data, now.Add(ttl)) })
}

// Touch implements [Store].
func (m *memory) Touch(ctx context.Context, key string, _ Record, ttl time.Duration) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	now := time.Now()
	s := m.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	r, ok := s.findLocked(key, now)
	if !ok {
		return ErrNotFound
	}
	r.Expires = now.Add(ttl)
	s.records[key] = r
	return nil
}

// Delete implements [Store].
func (m *memory) Delete(ctx context.Context, key string, old Record) error {
	return m.change(ctx, key, old, func(s *shard, _ time.Time) { s.removeLocked(key) })
}

// change does f if key still holds old.
func (m *memory) change(ctx context.Context, key string, old Record, f func(*shard, time.Time)) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	now := time.Now()
	s := m.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	r, ok := s.findLocked(key, now)
	switch {
	case !ok:
		return ErrNotFound
	case r.Version != old.Version:
		return ErrConflict
	}
	f(s, now)
	return nil
}

// findLocked returns the record of key, and removes it if it has expired.
func (s *shard) findLocked(key string, now time.Time) (Record, bool) {
	r, ok := s.records[key]
	if ok && !now.Before(r.Expires) {
		s.removeLocked(key)
		return Record{}, false
	}
	return r, ok
}

func (s *shard) putLocked(key string, data []byte, expires time.Time) {
	s.removeLocked(key)
	s.version++
	s.records[key] = Record{append([]byte(nil), data...), s.version, expires}
	s.bytes += cost(key, data)
}

func (s *shard) removeLocked(key string) {
	if r, ok := s.records[key]; ok {
		s.bytes -= cost(key, r.Data)
		delete(s.records, key)
	}
}

// sweepLocked looks at n records, in the map's random order, and removes those
// that have expired: so the store needs no goroutine.
func (s *shard) sweepLocked(now time.Time, n int) {
	for key, r := range s.records {
		if n--; n < 0 {
			return
		}
		if !now.Before(r.Expires) {
			s.removeLocked(key)
		}
	}
}

func cost(key string, data []byte) int { return len(key) + len(data) + recordCost }
