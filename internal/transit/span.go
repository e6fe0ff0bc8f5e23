package transit

import "context"

// A Span is a request's in somebody's tracing, under which its attempts at backends are
// told. It is safe for concurrent use, also once the request has been answered: fetches
// go on.
type Span interface {
	// Context returns ctx with the span, for those who look for it there.
	Context(ctx context.Context) context.Context
	// Try begins the span of an attempt at a backend, which end ends when its answer's
	// header has come, or none does. It returns what the backend is told of it; empty: it
	// is told what the request has.
	Try(backend string) (traceparent, tracestate string, end func(status int, err error))
}
