package http1

import "context"

// An Ending is a context with one place for what is called at its end, without the
// memory that [context.AfterFunc] takes.
type Ending interface {
	context.Context
	// OnEnd has f called when the context ends, by whoever ends it: f must not wait.
	// It reports whether that is so: the context has not ended, and the place was free.
	OnEnd(f func()) bool
	// OffEnd takes back what OnEnd has agreed to, once. It reports whether it was not
	// called, and is not going to be.
	OffEnd() bool
}

// A Wait calls a function if a context ends before the wait does.
type Wait struct {
	of   Ending      // nil:
	stop func() bool // of any other context
}

// WaitFor begins a wait at whose end ctx, or whoever ends that, calls f: it must not wait.
func WaitFor(ctx context.Context, f func()) Wait {
	if e, ok := ctx.(Ending); ok && e.OnEnd(f) {
		return Wait{of: e}
	}
	return Wait{stop: context.AfterFunc(ctx, f)}
}

// End ends the wait. It reports whether the function was not called, and is not going to be.
func (w Wait) End() bool {
	if w.of != nil {
		return w.of.OffEnd()
	}
	return w.stop()
}
