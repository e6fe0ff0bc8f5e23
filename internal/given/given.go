// Package given looks at what a constructor is given, for mistakes that the
// compiler cannot see and that would show on the first request only.
package given

import (
	"fmt"
	"net/http"
	"net/netip"
	"reflect"
)

// Nil reports whether v is nil or holds a nil pointer or function: a pool whose
// constructor has failed, put into an interface, is not nil and cannot serve.
func Nil(v any) bool {
	switch rv := reflect.ValueOf(v); rv.Kind() {
	case reflect.Invalid:
		return true
	case reflect.Pointer, reflect.Func:
		return rv.IsNil()
	}
	return false
}

// Typed reports whether v is an interface that is not nil and holds nil, where
// nil itself means a default.
func Typed(v any) bool { return v != nil && Nil(v) }

// A wrapper is a health.Wrapper, which is above this package.
type wrapper interface{ Wraps() []http.Handler }

// Chain says which handler in h, or in what it wraps as far as it shows that
// (Wraps), is nil.
func Chain(h http.Handler) error { return chain(h, Seen{}) }

func chain(h http.Handler, seen Seen) error {
	if Nil(h) {
		return fmt.Errorf("a nil handler (%T): the constructor that returned it has failed", h)
	}
	w, ok := h.(wrapper)
	if !ok || seen.Again(h) {
		return nil
	}
	for _, inner := range w.Wraps() {
		if err := chain(inner, seen); err != nil {
			return fmt.Errorf("%T wraps %w", h, err)
		}
	}
	return nil
}

// Seen are the handlers that a walk down a chain has come by, so that one that
// leads back to where it was ends.
type Seen map[http.Handler]bool

// Again reports whether the walk has come by h before, and notes that it has now.
// What cannot be told from others is always new: a function, which shows nothing
// that it wraps, or a value that holds one.
func (s Seen) Again(h http.Handler) bool {
	if h == nil || !reflect.ValueOf(h).Comparable() {
		return false
	}
	again := s[h]
	s[h] = true
	return again
}

// Prefixes returns a copy of list in which a prefix of IPv4 that is written as
// IPv6, ::ffff:10.0.0.0/104, is one of IPv4: addresses are compared unmapped and
// lie within none of the others. One that holds a part of both is an error, as
// is the zero Prefix.
func Prefixes(list []netip.Prefix) ([]netip.Prefix, error) {
	var out []netip.Prefix
	for i, p := range list {
		switch {
		case !p.IsValid():
			return nil, fmt.Errorf("prefix %d is not valid", i)
		case p.Addr().Is4In6() && p.Bits() < 96:
			return nil, fmt.Errorf("%s is neither a network of IPv4 nor one of IPv6: want one such as 10.0.0.0/8", p)
		case p.Addr().Is4In6():
			p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
		}
		out = append(out, p)
	}
	return out, nil
}
