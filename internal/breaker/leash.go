package breaker

import (
	"context"
	"sync"
)

// A Leash calls functions that do not heed a context, such as those of a
// client library without one, and lets the caller go when its context ends.
// The function is left to end by its own limits; there are never more than
// the leash's number of them.
type Leash struct {
	room chan struct{}
	wg   sync.WaitGroup
}

// NewLeash returns a Leash for at most n calls at once.
func NewLeash(n int) *Leash {
	return &Leash{room: make(chan struct{}, n)}
}

// Close waits for the calls that were left to end by themselves. No call may
// begin after it.
func (l *Leash) Close() error {
	l.wg.Wait()
	return nil
}

// Call returns what f returns, or ctx's error once ctx has ended. f must not
// touch what its caller uses after Call has returned.
func Call[T any](ctx context.Context, l *Leash, f func() (T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	var none T
	if err := ctx.Err(); err != nil {
		return none, err
	}
	select {
	case l.room <- struct{}{}:
	case <-ctx.Done():
		return none, ctx.Err()
	}
	done := make(chan result, 1)
	l.wg.Add(1)
	go func() {
		defer l.wg.Done()
		defer func() { <-l.room }()
		v, err := f()
		done <- result{v, err}
	}()
	select {
	case r := <-done:
		return r.value, r.err
	case <-ctx.Done():
		return none, ctx.Err()
	}
}
