// Package redislimit has several gateways share the accounts of limits on Redis, or
// Valkey: one server, Sentinel or Cluster, from version 5 on.
//
//	client := redis.NewUniversalClient(&redis.UniversalOptions{
//		Addrs: []string{"10.0.0.6:6379"}, ContextTimeoutEnabled: true,
//	})
//	shared, err := redislimit.New(client, redislimit.Options{})
//	if err != nil {
//		return err
//	}
//	limit := router.Limit{Rate: 5, By: router.ByHeader("X-Api-Key"), Store: shared}
//
// An account is a key of some 100 bytes that ends by itself once nothing is owed; its name
// is a hash. It may be lost without harm: all may send at once then what they may send at
// once. So Redis need not save it, and may evict it. Times are by Redis' own clock, so that
// gateways need not agree on theirs.
package redislimit

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/foretier/foretier/health"
	"github.com/foretier/foretier/internal/breaker"
	"github.com/foretier/foretier/internal/redisclient"
	"github.com/foretier/foretier/router"
)

// Options configures a [Store]. The zero value is valid.
type Options struct {
	// Prefix begins the names of all keys. Gateways with the same one share the
	// accounts of limits with the same name. Zero means "foretier:limit".
	Prefix string
	// Budget is the longest that a call may take. Zero means 25 ms; negative is an error.
	Budget time.Duration
	// Logger gets a line when Redis is not asked any more, and when it is again. Nil
	// means slog.Default().
	Logger *slog.Logger
}

// A Store is a [router.LimitStore] on Redis. A call is one round trip. After five in a row
// that have failed it makes none but one a second, and limits hold by what each gateway
// counts, until one succeeds. It is safe for concurrent use.
type Store struct {
	client  redis.UniversalClient
	opts    Options
	leash   *breaker.Leash // nil: the client heeds its contexts
	breaker *breaker.Breaker

	calls, failures atomic.Uint64
}

var _ router.LimitStore = (*Store)(nil)

// inARow is how many calls fail until Redis is left alone for a second.
const inARow = 5

// New returns a Store that uses client, which stays the caller's to close. It asks nothing
// of Redis. A client without ContextTimeoutEnabled keeps calls waiting beyond their budget:
// New then has each made in a goroutine that is left behind in time.
func New(client redis.UniversalClient, opts Options) (*Store, error) {
	opts.Prefix = cmp.Or(opts.Prefix, "foretier:limit")
	opts.Budget = cmp.Or(opts.Budget, 25*time.Millisecond)
	opts.Logger = cmp.Or(opts.Logger, slog.Default())
	if opts.Budget < 0 {
		return nil, errors.New("redislimit: Budget must not be negative")
	}
	s := &Store{client: client, opts: opts}
	s.breaker = breaker.New(breaker.Options{Budget: opts.Budget, InARow: inARow, Changed: s.changed})
	if !redisclient.HeedsContext(client) {
		s.leash = breaker.NewLeash(64)
	}
	return s, nil
}

// Close waits for calls that were left behind. It does not close the client.
func (s *Store) Close() error {
	if s.leash == nil {
		return nil
	}
	return s.leash.Close()
}

func (s *Store) changed(open bool) {
	if open {
		s.opts.Logger.Error("Redis does not answer: limits hold by what each gateway counts by itself", "part", "redislimit")
		return
	}
	s.opts.Logger.Info("Redis answers: limits hold for all gateways together", "part", "redislimit")
}

// take puts one request more on an account (the generic cell rate algorithm): of the
// microseconds between two and how many may come at once. What is there is the moment, in
// microseconds since 1970, up to which the account has been used. One that nobody here has
// written, or the clock of another server, costs no more than one who has just sent all that
// may come at once.
//
// It returns the microseconds to wait, and how many are left.
var take = redis.NewScript(`
local time = redis.call('TIME')
local now, every, burst = time[1] * 1000000 + time[2], tonumber(ARGV[1]), tonumber(ARGV[2])
local due = tonumber(redis.call('GET', KEYS[1]) or '')
if not due or not (due > now) then due = now end
due = math.min(due, now + burst * every)
local slack = now + (burst - 1) * every - due
if slack < 0 then return {string.format('%.0f', math.ceil(-slack)), '0'} end
due = due + every
redis.call('SET', KEYS[1], string.format('%.3f', due), 'PX', string.format('%.0f', math.ceil((due - now) / 1000)))
return {'0', string.format('%.0f', math.floor(slack / every))}`)

// longest is how long an account may be in use: numbers of Lua are exact up to there.
const longest = 200 * 365 * 24 * time.Hour

// Take implements [router.LimitStore].
func (s *Store) Take(ctx context.Context, account string, every time.Duration, burst int) (wait time.Duration, left int, err error) {
	// Redis has no finer clock, and a time beyond the longest is none of Go's.
	every = max(every, time.Microsecond)
	burst = max(1, int(min(int64(burst), int64(longest/every))))
	s.calls.Add(1)
	err = s.breaker.Do(ctx, func(ctx context.Context) error {
		wait, left, err = s.run(ctx, account, every, burst)
		return err
	})
	if err != nil {
		s.failures.Add(1)
		return 0, 0, fmt.Errorf("redislimit: %w", err)
	}
	return wait, left, nil
}

// run makes one call within its context's time, whatever the client does.
func (s *Store) run(ctx context.Context, account string, every time.Duration, burst int) (wait time.Duration, left int, err error) {
	call := func() ([]int64, error) {
		keys := []string{s.opts.Prefix + ":" + account}
		return take.Run(ctx, s.client, keys, float64(every)/float64(time.Microsecond), burst).Int64Slice()
	}
	var out []int64
	if s.leash == nil {
		out, err = call()
	} else {
		out, err = breaker.Call(ctx, s.leash, call)
	}
	switch {
	case err != nil:
		return 0, 0, err
	case len(out) != 2 || out[0] < 0 || out[0] > math.MaxInt64/1000 || out[1] < 0 || out[1] > int64(burst):
		return 0, 0, fmt.Errorf("a script returned %d", out)
	}
	return time.Duration(out[0]) * time.Microsecond, int(out[1]), nil
}

// Report implements [health.Reporter].
func (s *Store) Report() health.Report {
	r := health.Report{Kind: "limit_store", Name: s.opts.Prefix, State: health.Up, Metrics: []health.Metric{
		health.Count("calls_total", "Calls for an account that gateways share.", s.calls.Load()),
		health.Count("calls_failed_total", "Calls that failed or were not made, for which the gateway's own account held.", s.failures.Load()),
	}}
	if s.breaker.Open() {
		r.State, r.Why = health.Degraded, "Redis does not answer: limits hold by what each gateway counts by itself"
	}
	return r
}
