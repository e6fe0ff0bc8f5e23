// Package scope has the context of a request that the tier's own servers serve.
package scope

import (
	"cmp"
	"context"
	"sync"

	"github.com/foretier/foretier/internal/transit"
)

// A Scope is the context of one request, with its record: it ends when the client
// leaves, or the handler has returned. What can be waited for is made when
// somebody asks: nobody does for a page that is at hand.
type Scope struct {
	transit.Carrier // above the connection's context, or what a span has made of it

	mu     sync.Mutex
	ended  error                   // guarded by mu: why; nil: it has not
	inner  context.Context         // guarded by mu: what ends; nil: nobody has asked
	cancel context.CancelCauseFunc // guarded by mu: of inner
	onEnd  func()                  // guarded by mu: is called at the end; nil: the place is free
}

// asked returns a context that ends with s.
func (s *Scope) asked() context.Context {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.inner == nil {
		s.inner, s.cancel = context.WithCancelCause(s.Context)
		if s.ended != nil {
			s.cancel(s.ended)
		}
	}
	return s.inner
}

// End ends s, unless it has ended.
func (s *Scope) End(cause error) {
	s.mu.Lock()
	s.ended = cmp.Or(s.ended, cause)
	cancel, onEnd := s.cancel, s.onEnd
	s.onEnd = nil
	s.mu.Unlock()
	if cancel != nil {
		cancel(cause)
	}
	if onEnd != nil {
		onEnd()
	}
}

// OnEnd implements [http1.Ending], for a pool that asks a backend: to wait for a page
// needs no context that can be waited for.
func (s *Scope) OnEnd(f func()) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended != nil || s.onEnd != nil || s.Context.Done() != nil { // that may end by itself
		return false
	}
	s.onEnd = f
	return true
}

// OffEnd implements [http1.Ending].
func (s *Scope) OffEnd() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	free := s.onEnd == nil
	s.onEnd = nil
	return !free
}

// Asked reports whether somebody has asked for what can be waited for, which may know s
// for longer than s lasts.
func (s *Scope) Asked() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.inner != nil
}

// Over reports whether s has ended.
func (s *Scope) Over() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ended != nil
}

// Done implements [context.Context].
func (s *Scope) Done() <-chan struct{} { return s.asked().Done() }

// Err implements [context.Context].
func (s *Scope) Err() error { return s.asked().Err() }

// Value implements [context.Context]. By a key of its own, the address of an int,
// package context finds what it can add to: without that it needed a goroutine for
// everything that waits for s.
func (s *Scope) Value(k any) any {
	if _, contexts := k.(*int); contexts {
		return s.asked().Value(k)
	}
	return s.Carrier.Value(k)
}
