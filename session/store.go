package session

import (
	"context"
	"errors"
	"time"
)

// What a [Store] answers besides its own failures. Whoever answers so is there:
// none of these counts as a store that is out, however often it comes.
var (
	ErrNotFound = errors.New("session: no such record")
	ErrExists   = errors.New("session: record exists already")
	// ErrRefused means that the store does not do what it was asked, and may do
	// other things: it takes no changes for now, or not this one.
	ErrRefused = errors.New("session: the store refused")
	// ErrFull means that a store holds as much as it may. Nothing can be
	// written, but what is there can be loaded and deleted.
	ErrFull = errors.New("session: the store is full")
	// ErrUnreadable means that what is under the key was not written by this
	// version of the store: by another program, or a later version. It is to be
	// left as it is.
	ErrUnreadable = errors.New("session: unreadable record")
)

// ErrConflict means that something else was written meanwhile. A [Store]
// answers it when the record is not the one that was loaded. A [Session]
// answers it when a key that was read and then set in one request was changed
// by another request in between.
var ErrConflict = errors.New("session: changed meanwhile")

// ErrUnknown means that a store cannot tell whether it has done what it was asked: the
// answer was lost, and somebody else has written since. It is a failure like others. A
// [Store] must not answer ErrConflict then: the change would be made on top of itself.
var ErrUnknown = errors.New("session: not known whether it was done: the answer was lost and the record changed meanwhile")

// A Store keeps records until they expire. All writes compare and set, so that
// no write undoes another that it has not seen.
//
// Keys are at most 64 bytes of letters, digits, '-' and '_'. Data is at most
// 64 KiB and opaque. All methods are safe for concurrent use and honour the
// context's deadline, also while a server hangs. Whoever writes a Store runs
// [github.com/foretier/foretier/session/storetest] on it.
type Store interface {
	// Load returns the records of keys, in their order, in one round trip. The
	// record of a key that holds nothing is the zero Record. ErrUnreadable means
	// that one of them cannot be read.
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
