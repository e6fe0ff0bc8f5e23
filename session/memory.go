package session

import (
	"bytes"
	"cmp"
	"context"
	"hash/maphash"
	"strings"
	"sync"
	"time"
)

const (
	memoryShards = 64
	memoryLimit  = 256 << 20 // bytes, an estimate
	recordCost   = 256       // a record's bytes beside key and data, about
)

// Memory returns a [Store] in this process's memory: for one machine, and for
// tests. It ends with the process.
//
// It holds about 256 MiB. Beyond that a new session takes the place of others
// that are nobody's: of those that nobody came back to first, then of those that
// were used least and hold least, so that whoever makes sessions without end
// drops their own and not the carts of others. A session with a subject is
// dropped only if nobody came back to it and no other is found. If there is
// nothing to drop, no session is created: ErrFull.
func Memory() Store {
	m := &memory{seed: maphash.MakeSeed()}
	for i := range m.shards {
		m.shards[i].records = make(map[string]kept)
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
	records map[string]kept // guarded by mu
	bytes   int             // guarded by mu
	version uint64          // guarded by mu; the last one given
	swept   time.Time       // guarded by mu; when all records were last looked at
	limit   int
}

// kept is a record and how often it was loaded, up to wellUsed.
type kept struct {
	Record
	uses uint8
}

// wellUsed is as often as it counts.
const wellUsed = 8

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
		r, ok := s.findLocked(key, now)
		if ok && r.uses < wellUsed {
			r.uses++
			s.records[key] = r
		}
		s.mu.Unlock()
		out[i] = r.Record
	}
	return out, ctx.Err()
}

// Create implements [Store].
func (m *memory) Create(ctx context.Context, key string, data []byte, ttl time.Duration) error {
	return m.with(ctx, key, func(s *shard, now time.Time) error {
		if _, ok := s.findLocked(key, now); ok {
			return ErrExists
		}
		s.sweepLocked(now, 8)
		if !s.makeRoomLocked(now, key, cost(key, data)) {
			return ErrFull
		}
		s.putLocked(key, data, now.Add(ttl))
		return nil
	})
}

// Update implements [Store].
func (m *memory) Update(ctx context.Context, key string, old Record, data []byte, ttl time.Duration) error {
	return m.change(ctx, key, old, func(s *shard, now time.Time) {
		if more := len(data) - len(old.Data); more > 0 {
			s.makeRoomLocked(now, key, more) // what is there may grow, else its change would be lost
		}
		s.putLocked(key, data, now.Add(ttl))
	})
}

// Touch implements [Store].
func (m *memory) Touch(ctx context.Context, key string, _ Record, ttl time.Duration) error {
	return m.with(ctx, key, func(s *shard, now time.Time) error {
		r, ok := s.findLocked(key, now)
		if !ok {
			return ErrNotFound
		}
		r.Expires = now.Add(ttl)
		s.records[key] = r
		return nil
	})
}

// Delete implements [Store].
func (m *memory) Delete(ctx context.Context, key string, old Record) error {
	return m.change(ctx, key, old, func(s *shard, _ time.Time) { s.removeLocked(key) })
}

// change does f if key still holds old.
func (m *memory) change(ctx context.Context, key string, old Record, f func(*shard, time.Time)) error {
	return m.with(ctx, key, func(s *shard, now time.Time) error {
		r, ok := s.findLocked(key, now)
		switch {
		case !ok:
			return ErrNotFound
		case r.Version != old.Version:
			return ErrConflict
		}
		f(s, now)
		return nil
	})
}

// with does f with the shard of key, locked.
func (m *memory) with(ctx context.Context, key string, f func(*shard, time.Time) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s := m.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	return f(s, time.Now())
}

// findLocked returns the record of key, and removes it if it has expired.
func (s *shard) findLocked(key string, now time.Time) (kept, bool) {
	r, ok := s.records[key]
	if ok && !now.Before(r.Expires) {
		s.removeLocked(key)
		return kept{}, false
	}
	return r, ok
}

func (s *shard) putLocked(key string, data []byte, expires time.Time) {
	uses := s.records[key].uses
	s.removeLocked(key)
	s.version++
	s.records[key] = kept{Record{append([]byte(nil), data...), s.version, expires}, uses}
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

// makeRoomLocked drops what has expired, and then what is worth least, until
// there is room for n more bytes. It does not drop key, and reports whether
// there is room.
func (s *shard) makeRoomLocked(now time.Time, key string, n int) bool {
	if s.bytes+n > s.limit && now.Sub(s.swept) >= time.Second {
		s.sweepLocked(now, len(s.records))
		s.swept = now
	}
	for s.bytes+n > s.limit {
		victim, ok := s.victimLocked(key)
		if !ok {
			return false
		}
		s.removeLocked(victim)
	}
	return true
}

// victimLocked returns the record that is worth least among some, in the map's
// random order: so a flood of one kind meets its own.
func (s *shard) victimLocked(but string) (victim string, ok bool) {
	const look, enough = 128, 16
	var least kept
	looked, found := 0, 0
	for key, r := range s.records {
		if looked++; looked > look || found == enough {
			break
		}
		// Epochs and locks hold for others than themselves.
		if key == but || !strings.HasPrefix(key, sessionPrefix) {
			continue
		}
		somebodys := r.somebodys()
		if somebodys && (r.uses > 0 || found > 0) {
			continue
		}
		if !somebodys {
			if found++; found == 1 {
				ok = false // rather than a subject's
			}
		}
		if !ok || r.worthLess(least) {
			victim, least, ok = key, r, true
		}
	}
	return victim, ok
}

// somebodys reports whether a session has a subject, which is the second thing
// that a payload's JSON says.
func (r kept) somebodys() bool {
	head, _, _ := bytes.Cut(r.Data[:min(len(r.Data), 64)], []byte(`,"sub":`))
	return len(head) < min(len(r.Data), 64) && bytes.IndexByte(head, ',') < 0
}

// worthLess reports whether r is to be dropped rather than o: it was used less,
// or holds less, or will expire sooner.
func (r kept) worthLess(o kept) bool {
	return cmp.Or(cmp.Compare(r.uses, o.uses), cmp.Compare(len(r.Data), len(o.Data)), r.Expires.Compare(o.Expires)) < 0
}

func cost(key string, data []byte) int { return len(key) + len(data) + recordCost }
