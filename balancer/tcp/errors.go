package tcp

import (
	"errors"

	"github.com/foretier/foretier/balancer/internal/pool"
)

var (
	// ErrNoBackend means that the pool has no backend that may take the
	// connection.
	ErrNoBackend = pool.ErrNoBackend
	// ErrBusy means that all backends have as many connections in hand as
	// [Limits] allows, and that no place came free in time.
	ErrBusy = pool.ErrBusy
	// ErrClosed means that the pool has been closed.
	ErrClosed = pool.ErrClosed
	// ErrMoved means that a connection was cut because its backend is no
	// longer the one to be used: it went down, or its role moved.
	ErrMoved = errors.New("balancer: connection cut, its backend is no longer in use")
	// ErrUnknown means that the pool has no backend of that name.
	ErrUnknown = pool.ErrUnknown
)
