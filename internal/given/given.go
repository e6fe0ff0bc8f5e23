// Package given looks at what a constructor is given, for mistakes that the
// compiler cannot see and that would show on the first request only.
package given

import (
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

// Unmap returns p as a prefix of IPv4 if it is one that is written as IPv6,
// ::ffff:10.0.0.0/104: addresses are compared unmapped and lie within none of
// those. One that holds more than IPv4, ::/0 or ::ffff:0:0/90, stays as it is.
func Unmap(p netip.Prefix) netip.Prefix {
	if p.IsValid() && p.Addr().Is4In6() && p.Bits() >= 96 {
		return netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	return p
}

// Prefixes returns a copy of list, unmapped.
func Prefixes(list []netip.Prefix) []netip.Prefix {
	var out []netip.Prefix
	for _, p := range list {
		out = append(out, Unmap(p))
	}
	return out
}
