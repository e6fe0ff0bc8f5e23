// Package breaker bounds what a sick server costs its callers: each call has a
// budget, and when too many fail the calls end at once for a while.
package breaker

import (
	"cmp"
	"context"
	"errors"
	"sync"
	"time"
)

// ErrOpen means that a call was not made because too many before it failed.
var ErrOpen = errors.New("breaker: too many calls failed, not calling for a moment")

const (
	window   = 5 * time.Second // over which calls are counted
	minCalls = 20              // fewer in the window prove nothing
	maxFail  = 0.5             // share of failures from which on it opens
	pause    = time.Second     // how long it stays open before one call is tried
)

// Options for [New]. Zero fields mean the default.
type Options struct {
	Budget  time.Duration    // the longest a call may take; 1 second
	Failure func(error) bool // which errors count as failures; nil: all
	Changed func(open bool)  // told when it opens and when it closes; nil: nobody
	InARow  int              // opens once so many calls have failed in a row; zero: at half of those in 5 seconds
	Longest time.Duration    // how long it stays open at most, twice as long each time that it opens again; 1 second
}

// A Breaker guards the calls to one server. It is safe for concurrent use.
//
// Closed, it lets every call pass. Open, it lets none pass for a second, or longer
// each time if [Options.Longest] says so; then one call is tried, which closes it or
// opens it again.
type Breaker struct {
	opts Options

	mu     sync.Mutex
	slots  [5]slot       // guarded by mu; a fifth of the window each
	row    int           // guarded by mu; how many calls have failed since one has not
	opened time.Time     // guarded by mu; zero: closed
	pause  time.Duration // guarded by mu; how long it stays open
	trial  bool          // guarded by mu; a call is being tried
	trips  uint64        // guarded by mu; how often it opened
}

// slot counts the calls that ended in one fifth of the window.
type slot struct {
	at           int64 // which fifth, since the epoch
	calls, fails int
}

// New returns a closed Breaker.
func New(opts Options) *Breaker {
	opts.Budget = cmp.Or(opts.Budget, time.Second)
	opts.Longest = cmp.Or(opts.Longest, pause)
	if opts.Failure == nil {
		opts.Failure = func(error) bool { return true }
	}
	if opts.Changed == nil {
		opts.Changed = func(bool) {}
	}
	return &Breaker{opts: opts}
}

// Do calls f with a context that ends with the budget, and returns f's error,
// or [ErrOpen] without calling it. f must return soon after its context ends;
// see [Leash] for one that does not. If ctx ends before the budget, the call
// proves nothing and is not counted.
func (b *Breaker) Do(ctx context.Context, f func(context.Context) error) error {
	trial, err := b.admit(time.Now())
	if err != nil {
		return err
	}
	ended := false
	defer func() {
		if !ended { // f panicked: nothing is proven
			b.record(time.Now(), trial, abandoned)
		}
	}()
	call, cancel := context.WithTimeout(ctx, b.opts.Budget)
	defer cancel()
	err = f(call)
	ended = true
	switch {
	case err == nil || !b.opts.Failure(err):
		b.record(time.Now(), trial, succeeded)
	case ctx.Err() != nil:
		b.record(time.Now(), trial, abandoned)
	default:
		b.record(time.Now(), trial, failed)
	}
	return err
}

// Open reports whether calls are turned away.
func (b *Breaker) Open() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return !b.opened.IsZero()
}

// Trips returns how often the breaker has opened.
func (b *Breaker) Trips() uint64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.trips
}

// admit lets a call pass, perhaps as the one that is tried, or says ErrOpen.
func (b *Breaker) admit(now time.Time) (trial bool, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.opened.IsZero() {
		return false, nil
	}
	if b.trial || now.Sub(b.opened) < b.pause {
		return false, ErrOpen
	}
	b.trial = true
	return true, nil
}

type outcome uint8

const (
	succeeded outcome = iota
	failed
	abandoned // the caller left: it says nothing about the server
)

// record counts a call's end, and tells of a change.
func (b *Breaker) record(now time.Time, trial bool, o outcome) {
	b.mu.Lock()
	before := b.opened.IsZero()
	b.recordLocked(now, trial, o)
	after := b.opened.IsZero()
	b.mu.Unlock()
	if before != after {
		b.opts.Changed(!after)
	}
}

// recordLocked decides. What was under way when the breaker opened does not
// close it: only the call that is tried does.
func (b *Breaker) recordLocked(now time.Time, trial bool, o outcome) {
	if trial {
		b.trial = false
		switch o {
		case succeeded:
			b.opened = time.Time{}
			b.slots, b.row = [5]slot{}, 0
		case failed:
			b.opened, b.pause = now, min(2*b.pause, b.opts.Longest)
		}
		return
	}
	if o == abandoned || !b.opened.IsZero() {
		return
	}
	if b.tooManyLocked(now, o == failed) {
		b.opened, b.pause = now, pause
		b.trips++
	}
}

// tooManyLocked counts a call, and reports whether too many have failed.
func (b *Breaker) tooManyLocked(now time.Time, fail bool) bool {
	if b.row++; !fail {
		b.row = 0
	}
	if b.opts.InARow > 0 {
		return b.row >= b.opts.InARow
	}
	calls, fails := b.countLocked(now, fail)
	return calls >= minCalls && float64(fails) >= maxFail*float64(calls)
}

// countLocked adds a call to the window and returns what is in it.
func (b *Breaker) countLocked(now time.Time, fail bool) (calls, fails int) {
	n := int64(len(b.slots))
	at := now.UnixNano() / (int64(window) / n)
	current := &b.slots[at%n]
	if current.at != at {
		*current = slot{at: at}
	}
	current.calls++
	if fail {
		current.fails++
	}
	for _, s := range b.slots {
		if s.at > at-n && s.at <= at {
			calls += s.calls
			fails += s.fails
		}
	}
	return calls, fails
}
