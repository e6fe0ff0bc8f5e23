package router

import (
	"fmt"
	"net/http"

	"github.com/foretier/foretier/health"
	"github.com/foretier/foretier/internal/given"
)

// maxDepth bounds the walk down a chain that wraps itself.
const maxDepth = 32

// A checker is a handler that says itself why it can never serve a rule whose
// condition is when.
type checker interface{ check(when Matcher) error }

// checkChain says what in h, and in what it wraps, can never serve a rule whose
// condition is when.
func checkChain(h http.Handler, when Matcher, depth int) error {
	if given.Nil(h) {
		return fmt.Errorf("its To is a nil %T: the constructor that returned it has failed", h)
	}
	if h, ok := h.(checker); ok {
		return h.check(when)
	}
	wrapper, ok := h.(health.Wrapper)
	if !ok || depth > maxDepth {
		return nil
	}
	for _, inner := range wrapper.Wraps() {
		if given.Nil(inner) {
			return fmt.Errorf("%s wraps a nil handler: want one that can serve", handlerName(h))
		}
		if err := checkChain(inner, when, depth+1); err != nil {
			return err
		}
	}
	return nil
}
