package pool

import (
	"errors"
	"fmt"
)

var (
	// What users know by the same names.
	ErrNoBackend = errors.New("balancer: no backend available")
	ErrBusy      = errors.New("balancer: all backends are busy")
	ErrClosed    = errors.New("balancer: pool is closed")
	ErrUnknown   = errors.New("balancer: no such backend")
	// ErrStreams means that the members have as many streams as they may. It
	// is not waited for that one ends: that may take days, and those who wait
	// for a page would stand behind.
	ErrStreams = fmt.Errorf("%w: with streams", ErrBusy)
	// ErrShare means that there are places and none for this client, which holds
	// so many that the rest is kept for others.
	ErrShare = fmt.Errorf("%w: with this client's own requests", ErrBusy)
	// errStreamShare is the same of streams, for which nobody waits.
	errStreamShare = fmt.Errorf("%w: with this client's own streams", ErrBusy)
	// errBound means that the one member that will do has no place.
	errBound = fmt.Errorf("%w: the one that the client is bound to", ErrBusy)
	// errPartly means that some are busy, and others might have a place for another.
	errPartly = fmt.Errorf("%w: or not for this client", ErrBusy)
)

// Fail says at which backend err came about.
func (e *Entry) Fail(err error) error { return fmt.Errorf("backend %s: %w", e.Name, err) }

// worthAWait reports whether err may be over soon.
func worthAWait(err error) bool {
	return err == ErrBusy || err == errPartly || err == ErrShare || err == errBound
}
