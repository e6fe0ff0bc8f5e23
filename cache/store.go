package cache

import (
	"context"
	"errors"
	"time"
)

// A Store keeps copies of what the caches of several gateways hold where all of them
// find it: the second level. Package cache/redistier has one on Redis; cachetest.Store
// is one in memory; cache/storetest holds what every one must do. It may lose anything
// at any time, and need not know what is out of date: the cache does. Its methods are
// safe for concurrent use. The cache gives each call 25 ms, after which it has to
// return, and makes none for a while once five in a row have failed.
//
// Keys are of 43 letters, digits, - and _. Those of leases have nothing to do with those
// of data. Nobody is to write to a store whom one would not let write the pages: what is
// in it is checked for damage, not for who made it.
type Store interface {
	// Load returns what was saved under a key, whole, which is the caller's; or an
	// [ErrAbsent], or another error if it cannot tell.
	Load(ctx context.Context, key string) ([]byte, error)
	// Save keeps data, of 1 byte to 2 MiB, under a key in place of what was there, for
	// no longer than lifetime, which is positive. Of an error the caller cannot tell
	// whether it has been kept.
	Save(ctx context.Context, key string, data []byte, lifetime time.Duration) error
	// Lease has holder hold a key's lease from now on for d, and reports true, unless
	// another holds it. Who holds it already does so for as long as it did.
	Lease(ctx context.Context, key, holder string, d time.Duration) (bool, error)
	// Release ends a lease if holder holds it.
	Release(ctx context.Context, key, holder string) error
}

// ErrAbsent is what [Store.Load] wraps if there is nothing.
var ErrAbsent = errors.New("cache: not in the store")
