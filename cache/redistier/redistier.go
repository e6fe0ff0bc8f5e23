// Package redistier has the caches of several gateways keep together on Redis, or
// Valkey: one server, Sentinel or Cluster, from version 5 on.
//
//	client := redis.NewUniversalClient(&redis.UniversalOptions{
//		Addrs: []string{"10.0.0.6:6379"}, ContextTimeoutEnabled: true,
//	})
//	tier, err := redistier.New(client, redistier.Options{})
//	if err != nil {
//		return err
//	}
//	pages, err := cache.New(cache.Options{Feed: tier, Store: tier})
//
// What it keeps is a log of invalidations, a few megabytes, and who is there. It is
// lost without harm: the gateways notice, and refresh what they hold. So Redis need
// not save it to disk. It must not evict it, see [Tier.Check]; memcached, which always
// may, is no place for it. Beside sessions it does not disturb.
//
// As a [cache.Store], the second level, it keeps pages too, each under a key of its own
// that ends by itself: another Redis may do so, by a Tier of its own. Give Redis that
// keeps pages a maxmemory, and volatile-lru as maxmemory-policy: it then evicts pages
// and not the log. Sessions, which end by themselves as well, have no place there.
//
// A failover is asynchronous: what a master acknowledged last may be lost with it. Each
// promotion of a replica therefore counts as a loss. What no gateway can see is a
// master that goes on acknowledging while it is cut off from those who have replaced
// it; min-replicas-to-write is Redis' own means against that.
package redistier

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/foretier/foretier/internal/breaker"
	"github.com/foretier/foretier/internal/redisclient"
)

// Options configures a [Tier]. The zero value is valid.
type Options struct {
	// Gateway is how this gateway is called where others say who lags behind. Each
	// has a name of its own; zero means one made of the host's, the process's id and
	// chance.
	Gateway string
	// Prefix stands in the names of all keys; in braces in those of the log, so that a
	// cluster keeps them together. Gateways with the same one belong together. Zero
	// means "foretier:cache".
	Prefix string
	// Entries is how many invalidations the log keeps, or some more. A gateway that
	// was away for longer refreshes all that it holds. Zero means 100,000, some 15
	// MB; negative is an error.
	Entries int
	// Budget is the longest that a call may take, but for waiting until there is
	// something new. Zero means 25 ms; negative is an error.
	Budget time.Duration
}

// A Tier is a [cache.Feed] and a [cache.Store] on Redis. Its methods are safe for
// concurrent use.
type Tier struct {
	client  redis.UniversalClient
	opts    Options
	keys    []string       // the log, whose history it is, the gateways, whether they are not known
	leash   *breaker.Leash // nil: the client heeds its contexts
	pages   *breaker.Leash // beside it, for the second level: pages are not to hold the log up
	breaker *breaker.Breaker
	seen    atomic.Uint64 // the greatest epoch
}

// New returns a Tier that uses client, which stays the caller's to close. It asks
// nothing of Redis. A client without ContextTimeoutEnabled keeps calls waiting beyond
// their budget: New then has each made in a goroutine that is left behind in time.
func New(client redis.UniversalClient, opts Options) (*Tier, error) {
	if opts.Gateway == "" {
		host, err := os.Hostname()
		if err != nil {
			return nil, fmt.Errorf("redistier: Gateway is not given: %w", err)
		}
		opts.Gateway = fmt.Sprintf("%s:%d-%s", host, os.Getpid(), rand.Text()[:4])
	}
	opts.Prefix = cmp.Or(opts.Prefix, "foretier:cache")
	opts.Entries = cmp.Or(opts.Entries, 100_000)
	opts.Budget = cmp.Or(opts.Budget, 25*time.Millisecond)
	switch {
	case strings.ContainsAny(opts.Prefix, "{}"):
		return nil, fmt.Errorf("redistier: Prefix %q has braces", opts.Prefix)
	case opts.Entries < 0 || opts.Budget < 0:
		return nil, errors.New("redistier: Entries and Budget must not be negative")
	}
	slot := "{" + opts.Prefix + "}"
	t := &Tier{
		client: client, opts: opts,
		keys:    []string{slot + ":log", slot + ":run", slot + ":gateways", slot + ":unsure"},
		breaker: breaker.New(breaker.Options{Budget: opts.Budget}),
	}
	if !redisclient.HeedsContext(client) {
		t.leash, t.pages = breaker.NewLeash(64), breaker.NewLeash(64)
	}
	return t, nil
}

// Close waits for calls that were left behind. It does not close the client.
func (t *Tier) Close() error {
	if t.leash == nil {
		return nil
	}
	return errors.Join(t.leash.Close(), t.pages.Close())
}

// ErrEvicts means that Redis may drop the log at any time.
var ErrEvicts = errors.New("redistier: Redis evicts the log of invalidations when its memory is full, and all that " +
	"is cached is refreshed: set maxmemory-policy to noeviction or one of volatile-*")

// ErrFills means that Redis takes nothing any more once its memory is full. It is of
// matter to who has a Tier as a [cache.Store].
var ErrFills = errors.New("redistier: once pages have filled Redis it refuses the log of invalidations: " +
	"set maxmemory-policy to volatile-lru")

// Check asks Redis, which New does not, whether it answers and keeps what it is
// given. An ErrEvicts, or an ErrFills, is worth a warning at the start of a program.
func (t *Tier) Check(ctx context.Context) error {
	info, err := bounded(ctx, t, func(ctx context.Context) (string, error) { return t.client.Info(ctx, "memory").Result() })
	if err != nil {
		return fmt.Errorf("redistier: %w", err)
	}
	value := func(name string) string {
		_, after, _ := strings.Cut(info, name+":")
		text, _, _ := strings.Cut(after, "\r\n")
		return text
	}
	switch policy := value("maxmemory_policy"); {
	case strings.HasPrefix(policy, "allkeys-"):
		return fmt.Errorf("%w (it is %s)", ErrEvicts, policy)
	case policy == "noeviction" && value("maxmemory") != "0":
		return ErrFills
	}
	return nil
}

// call makes one call, within the budget, or none if those before it failed.
func call[T any](ctx context.Context, t *Tier, f func(context.Context) (T, error)) (v T, err error) {
	if err := ctx.Err(); err != nil {
		return v, fmt.Errorf("redistier: %w", err)
	}
	err = t.breaker.Do(ctx, func(ctx context.Context) error {
		v, err = bounded(ctx, t, f)
		return err
	})
	if err != nil {
		return v, fmt.Errorf("redistier: %w", err)
	}
	return v, nil
}

// bounded makes one call within its context's time, whatever the client does.
func bounded[T any](ctx context.Context, t *Tier, f func(context.Context) (T, error)) (T, error) {
	return leashed(ctx, t.leash, f)
}

func leashed[T any](ctx context.Context, l *breaker.Leash, f func(context.Context) (T, error)) (T, error) {
	if l == nil {
		return f(ctx)
	}
	return breaker.Call(ctx, l, func() (T, error) { return f(ctx) })
}
