package router

import (
	"fmt"
	"net/http"

	"github.com/foretier/foretier/health"
	"github.com/foretier/foretier/internal/given"
)

// A checker is a handler that says itself why it can never serve a rule whose
// condition is when.
type checker interface{ check(when Matcher) error }

// checkChain says what in h, and in what it wraps, can never serve a rule whose
// condition is when. It comes by each handler once.
func checkChain(h http.Handler, when Matcher, seen given.Seen) error {
	if given.Nil(h) {
		return fmt.Errorf("its To is a nil %T: the constructor that returned it has failed", h)
	}
	if h, ok := h.(checker); ok {
		return h.check(when)
	}
	wrapper, ok := h.(health.Wrapper)
	if !ok || seen.Again(h) {
		return nil
	}
	for _, inner := range wrapper.Wraps() {
		if given.Nil(inner) {
			return fmt.Errorf("%s wraps a nil handler: want one that can serve", handlerName(h))
		}
		if err := checkChain(inner, when, seen); err != nil {
			return err
		}
	}
	return nil
}
