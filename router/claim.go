package router

import (
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"unsafe"

	"github.com/foretier/foretier/health"
	"github.com/foretier/foretier/internal/given"
)

// A Claim says which handlers a request may reach. [Router.Prove] proves it,
// or finds a request that breaks it.
type Claim struct {
	// Of are the requests that the claim is about; nil means all.
	Of Matcher
	// Only are the handlers that these may reach: pools, mostly. A handler is
	// known by ==, an [http.HandlerFunc] by being the same function value: two
	// that were made by one function are two. None means that nothing may be
	// reached: the tier answers by itself.
	Only []http.Handler
}

// Only claims that requests reach no other handlers than these. Limit it with
// [Claim.For]:
//
//	err := front.Prove(router.Only(origin).For(admin))
func Only(handlers ...http.Handler) Claim { return Claim{Only: slices.Clone(handlers)} }

// For returns the claim for those requests alone that m matches.
func (c Claim) For(m Matcher) Claim {
	c.Of = m
	return c
}

// String says what is claimed, in words.
func (c Claim) String() string {
	of := "every request"
	if c.Of != nil {
		of = c.Of.String()
	}
	names := make([]string, len(c.Only))
	for i, h := range c.Only {
		names[i] = handlerName(h)
	}
	return of + " reaches only " + strings.Join(names, ", ")
}

// check says why the claim cannot be judged.
func (c Claim) check() error {
	if given.Typed(c.Of) {
		return fmt.Errorf("its condition is a nil %T", c.Of)
	}
	if c.Of != nil {
		if err := c.Of.check(); err != nil {
			return err
		}
	}
	for _, h := range c.Only {
		switch v := reflect.ValueOf(h); {
		case given.Nil(h):
			return errors.New("Only holds a nil handler")
		case v.Kind() != reflect.Func && !v.Comparable():
			return fmt.Errorf("Only holds a %T, which cannot be told from another: want a pointer to one", h)
		}
	}
	return nil
}

// allows reports whether h is one of Only.
func (c Claim) allows(h http.Handler) bool {
	return slices.ContainsFunc(c.Only, func(o http.Handler) bool { return same(o, h) })
}

// same reports whether a and b are one handler. Handlers are not always
// comparable: functions are one if they are one value, code and variables.
func same(a, b http.Handler) bool {
	if a == nil || b == nil || reflect.TypeOf(a) != reflect.TypeOf(b) {
		return false
	}
	if v := reflect.ValueOf(a); v.Kind() == reflect.Func {
		return closure(v) == closure(reflect.ValueOf(b))
	}
	return reflect.ValueOf(a).Comparable() && reflect.ValueOf(b).Comparable() && a == b
}

// closure returns what the function value v points to. Its code alone, which
// reflect tells, is also that of functions with other variables.
func closure(v reflect.Value) unsafe.Pointer {
	f := reflect.New(v.Type())
	f.Elem().Set(v)
	return *(*unsafe.Pointer)(f.UnsafePointer())
}

// answersItself reports whether h is one of the standard library's handlers that
// answer by themselves. Those of this module show it by wrapping nothing.
func answersItself(h http.Handler) bool {
	return same(h, notFound) || reflect.TypeOf(h) == reflect.TypeOf(redirectsTo)
}

var notFound, redirectsTo = http.NotFoundHandler(), http.RedirectHandler("/", http.StatusFound)

// handlerName is what a handler is called in errors: what its report calls it,
// or its type.
func handlerName(h http.Handler) string {
	if r, ok := h.(health.Reporter); ok {
		report := r.Report()
		return report.Kind + " " + report.Name
	}
	return fmt.Sprintf("%T", h)
}

// ErrOpaque is what [Router.Prove] wraps when a request of the claim reaches a
// handler that is none of the allowed ones and does not show what it wraps: an
// http.HandlerFunc, or a type without a Wraps method. The claim may hold or
// not; only a pool's own Refuse is sure to hold there. Name the handler in Only,
// or give its type a method
//
//	Wraps() []http.Handler
//
// that returns what it calls: nothing, if it answers by itself. [health.Wrap] does
// so for middleware of others.
var ErrOpaque = errors.New("router: cannot see through a handler")

// A Counterexample is a request that breaks a claim.
type Counterexample struct {
	// Request is ready to be tried: on the router, or with its RequestURI on a
	// socket.
	Request *http.Request
	// Rule is the name of the rule that takes it.
	Rule string
	// Handler is what it reaches and should not.
	Handler http.Handler
	// Outgoing is the path that a backend with a base path would get, where it
	// is this path that the claim is about; else empty.
	Outgoing string
	// Assuming lists the answers of functions that Prove cannot know.
	Assuming []string
}

// Error implements error.
func (c *Counterexample) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "router: %s %s (host %s", c.Request.Method, c.Request.RequestURI, c.Request.Host)
	if c.Request.TLS != nil {
		b.WriteString(", https")
	}
	for name, values := range c.Request.Header {
		fmt.Fprintf(&b, ", %s: %s", name, strings.Join(values, ", "))
	}
	fmt.Fprintf(&b, ") reaches %s by rule %q", handlerName(c.Handler), c.Rule)
	if c.Outgoing != "" {
		fmt.Fprintf(&b, ", whose base path makes it %s", c.Outgoing)
	}
	if len(c.Assuming) > 0 {
		b.WriteString(", if " + strings.Join(c.Assuming, " and "))
	}
	return b.String()
}
