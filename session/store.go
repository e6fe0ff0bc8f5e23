package session

import (
	"context"
	"errors"
	"time"
)

// What a [Store] answers besides its own failures.
var (
	ErrNotFound = errors.New("session: no such record")
	ErrExists   = errors.New("session: record exists already")
)

// ErrConflict means that something else was written meanwhile. A [Store]
// answers it when the record is not the one that was loaded. A [Session]
// answers it when a key that was read and then set in one request was changed
// by another request in between.
var ErrConflict = errors.New("session: changed meanwhile")

// A Store keeps records until they expire. All writes compare and set, so that
// no write undoes another that it has not seen.
//
// Keys are at most 64 bytes of letters, digits, '-' and '_'. Data is at most
// 64 KiB and opaque. All methods are safe for concurrent use and honour the
// context's deadline, also while a server hangs. Whoever writes a Store runs
// [github.com/foretier/foretier/session/storetest] on it.
type Store interface {
	// Load returns the records of keys, in their order, in one round trip. The
	// record of a key that holds nothing is the zero Record.
	Load(ctx context.Context, keys ...string) ([]Record, error)
	// Create stores a record under a key that holds none, else ErrExists.
	Create(ctx context.Context, key string, data []byte, ttl time.Duration) error
	// Update replaces old, which Load returned. ErrConflict means that the
	// record has been changed since, ErrNotFound that it is gone; then nothing
	// has been written.
	Update(ctx context.Context, key string, old Record, data []byte, ttl time.Duration) error
	// Touch lets old, which Load returned, live for ttl from now. ErrNotFound
	// means that it is gone. Where a touch cannot be told from a change,
	// ErrConflict says that somebody else came first.
	Touch(ctx context.Context, key string, old Record, ttl time.Duration) error
	// Delete removes old, which Load returned: ErrConflict and ErrNotFound as
	// with Update.
	Delete(ctx context.Context, key string, old Record) error
}

// A Record is what a [Store] holds under one key.
type Record struct {
	Data    []byte    // not to be modified
	Version uint64    // changes with every Update; 0: there is no record
	Expires time.Time // when it will be gone unless touched, about
}
