// Package redisstore keeps sessions on Redis: one server, Sentinel or Cluster.
//
//	client := redis.NewUniversalClient(&redis.UniversalOptions{
//		Addrs: []string{"10.0.0.5:6379"}, ContextTimeoutEnabled: true,
//	})
//	sessions, err := session.New(redisstore.New(client), session.Options{})
//
// Give sessions a Redis of their own, with the policy noeviction or
// volatile-ttl: a cache beside them would push carts out. Let the client read
// from masters only: a replica lags behind, and what was read there is then
// written for nothing, again and again.
//
// A failover is asynchronous: a change of the last moment may be lost with its
// master. Such a session counts as missing, and the visitor begins another.
package redisstore

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/foretier/foretier/internal/breaker"
	"github.com/foretier/foretier/internal/redisclient"
	"github.com/foretier/foretier/session"
)

// prefix stands before all keys in Redis.
const prefix = "session:"

// A value in Redis is a version, when it expires (both 8 bytes, big endian;
// the second in milliseconds since 1970), and the data.
const headSize = 16

// A Store is a [session.Store] on Redis. Each of its calls is one round trip
// and touches one key, or reads several.
//
// A version is a random number, and the one that a write makes is sent along
// with it. So a write that the client library sends a second time, since the
// first one's answer was lost, is known again and not taken for a conflict. What was
// sent twice and is then found changed may be either: [session.ErrUnknown].
type Store struct {
	client redis.UniversalClient
	leash  *breaker.Leash // nil: the client heeds its contexts
}

// New returns a Store that uses client, which stays the caller's to close. A
// client without ContextTimeoutEnabled keeps calls waiting beyond their budget:
// New then has each call made in a goroutine that is left behind in time.
func New(client redis.UniversalClient) *Store {
	s := &Store{client: client}
	if !redisclient.HeedsContext(client) {
		s.leash = breaker.NewLeash(1024)
	}
	return s
}

// Close waits for calls that were left behind. It does not close the client.
func (s *Store) Close() error {
	if s.leash == nil {
		return nil
	}
	return s.leash.Close()
}

// ErrEvicts means that Redis may drop sessions that have not expired.
var ErrEvicts = errors.New("redisstore: Redis evicts live sessions when its memory is full: " +
	"set maxmemory-policy to noeviction or volatile-ttl, and give sessions a Redis of their own")

// Check asks Redis, which New does not, whether it answers and keeps what it is
// given. An ErrEvicts is worth a warning at the start of a program.
func (s *Store) Check(ctx context.Context) error {
	info, err := do(ctx, s, func() (string, error) { return s.client.Info(ctx, "memory").Result() })
	if err != nil {
		return fmt.Errorf("redisstore: %w", err)
	}
	_, after, _ := strings.Cut(info, "maxmemory_policy:")
	policy, _, _ := strings.Cut(after, "\r\n")
	if strings.HasPrefix(policy, "allkeys-") {
		return fmt.Errorf("%w (it is %s)", ErrEvicts, policy)
	}
	return nil
}

// do makes one call, within its context's time whatever the client does.
func do[T any](ctx context.Context, s *Store, f func() (T, error)) (T, error) {
	if s.leash == nil {
		return f()
	}
	return breaker.Call(ctx, s.leash, f)
}

// Load implements [session.Store].
func (s *Store) Load(ctx context.Context, keys ...string) ([]session.Record, error) {
	return do(ctx, s, func() ([]session.Record, error) {
		records := make([]session.Record, len(keys))
		if len(keys) == 1 {
			value, err := s.client.Get(ctx, prefix+keys[0]).Bytes()
			if err := read(&records[0], value, err); err != nil {
				return nil, err
			}
			return records, nil
		}
		// Not MGET: in a cluster the keys are on different servers.
		found := make([]*redis.StringCmd, len(keys))
		_, _ = s.client.Pipelined(ctx, func(p redis.Pipeliner) error {
			for i, key := range keys {
				found[i] = p.Get(ctx, prefix+key)
			}
			return nil
		}) // its error is the first of theirs
		for i, cmd := range found {
			value, err := cmd.Bytes()
			if err := read(&records[i], value, err); err != nil {
				return nil, err
			}
		}
		return records, nil
	})
}

// read takes a GET's answer apart.
func read(r *session.Record, value []byte, err error) error {
	switch {
	case errors.Is(err, redis.Nil):
		return nil
	case redis.HasErrorPrefix(err, "WRONGTYPE"), err == nil && len(value) < headSize:
		return fmt.Errorf("redisstore: a value that is no session: use a Redis of its own: %w", session.ErrUnreadable)
	case err != nil:
		return failure(err)
	}
	r.Version = binary.BigEndian.Uint64(value)
	r.Expires = time.UnixMilli(int64(binary.BigEndian.Uint64(value[8:])))
	r.Data = value[headSize:]
	return nil
}

var (
	create = redis.NewScript(`
if redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then return 1 end
if redis.call('GETRANGE', KEYS[1], 0, 7) == string.sub(ARGV[1], 1, 8) then return 1 end
return 0`)
	update = redis.NewScript(`
local version = redis.call('GETRANGE', KEYS[1], 0, 7)
if version == '' then return -1 end
if version == string.sub(ARGV[1], 1, 8) then return 1 end
if version ~= ARGV[3] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1`)
	touch = redis.NewScript(`
if redis.call('PEXPIRE', KEYS[1], ARGV[2]) == 0 then return -1 end
redis.call('SETRANGE', KEYS[1], 8, ARGV[1])
return 1`)
	remove = redis.NewScript(`
local version = redis.call('GETRANGE', KEYS[1], 0, 7)
if version == '' then return -1 end
if version ~= ARGV[1] then return 0 end
redis.call('DEL', KEYS[1])
return 1`)
)

// Create implements [session.Store].
func (s *Store) Create(ctx context.Context, key string, data []byte, ttl time.Duration) error {
	return s.run(ctx, create, session.ErrExists, key, value(data, ttl), millis(ttl))
}

// Update implements [session.Store].
func (s *Store) Update(ctx context.Context, key string, old session.Record, data []byte, ttl time.Duration) error {
	return s.run(ctx, update, session.ErrConflict, key, value(data, ttl), millis(ttl), version(old))
}

// Touch implements [session.Store].
func (s *Store) Touch(ctx context.Context, key string, _ session.Record, ttl time.Duration) error {
	return s.run(ctx, touch, session.ErrConflict, key, expiry(nil, ttl), millis(ttl))
}

// Delete implements [session.Store].
func (s *Store) Delete(ctx context.Context, key string, old session.Record) error {
	return s.run(ctx, remove, session.ErrConflict, key, version(old))
}

// run runs a script on key, which answers 1 for done, -1 for no such key, and
// 0 for lost.
func (s *Store) run(ctx context.Context, script *redis.Script, lost error, key string, first []byte, more ...any) error {
	answer, err := do(ctx, s, func() (int, error) {
		sent := &counted{bytes: first}
		args := append([]any{sent}, more...)
		cmd := script.EvalSha(ctx, s.client, []string{prefix + key}, args...)
		if redis.HasErrorPrefix(cmd.Err(), "NOSCRIPT") {
			sent.times-- // that one has done nothing
			cmd = script.Eval(ctx, s.client, []string{prefix + key}, args...)
		}
		answer, err := cmd.Int()
		if err == nil && answer == 0 && sent.times > 1 {
			err = session.ErrUnknown
		}
		return answer, err
	})
	switch {
	case err != nil:
		return failure(err)
	case answer < 0:
		return session.ErrNotFound
	case answer == 0:
		return lost
	}
	return nil
}

// counted is an argument that knows how often the client library has sent it: it
// writes a command anew each time, and does not tell.
type counted struct {
	bytes []byte
	times int
}

// MarshalBinary implements [encoding.BinaryMarshaler].
func (c *counted) MarshalBinary() ([]byte, error) {
	c.times++
	return c.bytes, nil
}

// failure says what an error of a call is worth. A server that answers one with
// an error is there: full (OOM), without a disk to write to (MISCONF), a replica
// or without any (READONLY, NOREPLICAS), not allowed to (NOPERM). What it
// answers every call with, or a proxy does in its place, is an outage.
func failure(err error) error {
	var said redis.Error
	if !errors.As(err, &said) || isOutage(err, said.Error()) {
		return fmt.Errorf("redisstore: %w", err)
	}
	if strings.Contains(said.Error(), "OOM command not allowed") { // older servers wrap what a script fails with
		return fmt.Errorf("redisstore: %w: %w", session.ErrFull, err)
	}
	return fmt.Errorf("redisstore: %w: %w", session.ErrRefused, err)
}

func isOutage(err error, said string) bool {
	if redis.IsAuthError(err) || redis.IsMaxClientsError(err) {
		return true
	}
	for _, prefix := range [...]string{"LOADING", "CLUSTERDOWN", "MASTERDOWN", "TRYAGAIN", "BUSY", "NOAUTH", "WRONGPASS"} {
		if redis.HasErrorPrefix(err, prefix) {
			return true
		}
	}
	said = strings.ToLower(said)
	for _, words := range [...]string{"connection", "upstream", "timed out", "timeout", "no backend"} {
		if strings.Contains(said, words) {
			return true
		}
	}
	return false
}

// value returns data with a new version before it.
func value(data []byte, ttl time.Duration) []byte {
	b := make([]byte, 0, headSize+len(data))
	b = binary.BigEndian.AppendUint64(b, newVersion())
	b = expiry(b, ttl)
	return append(b, data...)
}

// newVersion never returns 0, nor all ones, which the session package uses for
// versions that it does not know.
func newVersion() uint64 { return 1 + rand.Uint64N(1<<63) }

func version(r session.Record) []byte { return binary.BigEndian.AppendUint64(nil, r.Version) }

func expiry(b []byte, ttl time.Duration) []byte {
	return binary.BigEndian.AppendUint64(b, uint64(time.Now().Add(ttl).UnixMilli()))
}

func millis(ttl time.Duration) string { return strconv.FormatInt(max(1, ttl.Milliseconds()), 10) }
