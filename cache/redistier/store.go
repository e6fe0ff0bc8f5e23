package redistier

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/foretier/foretier/cache"
)

// largest is how many bytes a value may have. What is larger no cache has saved, and it
// is not read.
const largest = 2 << 20

var (
	errSize     = fmt.Errorf("redistier: want 1 to %d bytes", largest)
	errLifetime = errors.New("redistier: a lifetime must be positive")

	// of a holder, and milliseconds
	lease = redis.NewScript(`
local holder = redis.call('GET', KEYS[1])
if not holder then
	redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
	return 1
end
return holder == ARGV[1] and 1 or 0`)
	// of a holder
	release = redis.NewScript(`
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end
return 0`)
)

// Every command is about one key, each of which is in a slot of its own.
func (t *Tier) pageKey(key string) string  { return t.opts.Prefix + ":page:" + key }
func (t *Tier) leaseKey(key string) string { return t.opts.Prefix + ":lease:" + key }

// keep makes a call for the second level, within the budget. It is for the cache to
// make none after others have failed.
func keep[T any](ctx context.Context, t *Tier, f func(context.Context) (T, error)) (v T, err error) {
	if err := ctx.Err(); err != nil {
		return v, fmt.Errorf("redistier: %w", err)
	}
	bound, cancel := context.WithTimeout(ctx, t.opts.Budget)
	defer cancel()
	if v, err = leashed(bound, t.pages, f); err != nil {
		return v, fmt.Errorf("redistier: %w", err)
	}
	return v, nil
}

// Load implements [cache.Store].
func (t *Tier) Load(ctx context.Context, key string) ([]byte, error) {
	data, err := keep(ctx, t, func(ctx context.Context) (string, error) {
		return t.client.GetRange(ctx, t.pageKey(key), 0, largest).Result()
	})
	switch {
	case err != nil && strings.Contains(err.Error(), "WRONGTYPE"):
		return nil, fmt.Errorf("%w: %w", cache.ErrAbsent, err)
	case err != nil:
		return nil, err
	case len(data) > largest:
		return nil, fmt.Errorf("%w: %w", cache.ErrAbsent, errSize)
	case data == "": // of what is not there as well
		return nil, fmt.Errorf("redistier: %w", cache.ErrAbsent)
	}
	return []byte(data), nil
}

// Save implements [cache.Store].
func (t *Tier) Save(ctx context.Context, key string, data []byte, lifetime time.Duration) error {
	switch {
	case len(data) == 0 || len(data) > largest:
		return errSize
	case lifetime <= 0:
		return errLifetime
	}
	if t.pages != nil {
		data = slices.Clone(data) // the call may be left behind, and go on with it
	}
	_, err := keep(ctx, t, func(ctx context.Context) (string, error) {
		return t.client.Set(ctx, t.pageKey(key), data, max(lifetime, time.Millisecond)).Result()
	})
	return err
}

// Lease implements [cache.Store].
func (t *Tier) Lease(ctx context.Context, key, holder string, d time.Duration) (bool, error) {
	if d <= 0 {
		return false, errLifetime
	}
	return keep(ctx, t, func(ctx context.Context) (bool, error) {
		return lease.Run(ctx, t.client, []string{t.leaseKey(key)}, holder, max(d.Milliseconds(), 1)).Bool()
	})
}

// Release implements [cache.Store].
func (t *Tier) Release(ctx context.Context, key, holder string) error {
	_, err := keep(ctx, t, func(ctx context.Context) (any, error) {
		return release.Run(ctx, t.client, []string{t.leaseKey(key)}, holder).Result()
	})
	return err
}
