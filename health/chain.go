package health

import (
	"iter"
	"net/http"

	"github.com/foretier/foretier/internal/given"
)

// A Wrapper is a handler that calls others.
type Wrapper interface {
	// Wraps returns all that the handler may call, in no order: none, if it
	// answers by itself. It is asked while serving, by many goroutines.
	Wraps() []http.Handler
}

// A Checker knows whether it could serve a request now: a pool, and what wraps
// one. A cache in front of one that could not serves stale responses within their
// grace.
type Checker interface {
	// Healthy does not ask over a network.
	Healthy(*http.Request) bool
}

// A CookieOwner has cookies of its own in requests: a pool that pins visitors,
// and its affinity. They say nothing of what the visitor may see, so a cache in
// front looks past them.
type CookieOwner interface {
	OwnsCookie(name string) bool
}

// A BasePather puts one of these paths, decoded, in front of a request's: a pool,
// by its backends' URLs. Proofs judge what comes of it, too. It is asked at the
// bottom of a chain only, below which nothing is shown.
type BasePather interface {
	BasePaths() []string
}

// A LoopDetector knows a request again that has been through it before: a pool.
// A cache in front does not let one wait for the fetch that it comes from.
type LoopDetector interface {
	Looped(*http.Request) bool
}

// Chain yields h and then what it wraps, each before what that wraps, as far as
// [Wrapper] shows it, and each once: a chain may lead back to where it was. What is
// nil, or holds a nil pointer, is yielded and asked nothing.
func Chain(h http.Handler) iter.Seq[http.Handler] {
	return func(yield func(http.Handler) bool) { walk(h, given.Seen{}, yield) }
}

func walk(h http.Handler, seen given.Seen, yield func(http.Handler) bool) bool {
	if seen.Again(h) {
		return true
	}
	if !yield(h) {
		return false
	}
	w, ok := h.(Wrapper)
	if !ok || given.Nil(h) {
		return true
	}
	for _, inner := range w.Wraps() {
		if !walk(inner, seen, yield) {
			return false
		}
	}
	return true
}
