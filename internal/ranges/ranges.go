// Package ranges finds addresses in large sets of networks: a list of 100,000 takes
// about a megabyte, and a question some twenty comparisons.
package ranges

import (
	"cmp"
	"encoding/binary"
	"net/netip"
	"slices"

	"github.com/foretier/foretier/internal/given"
)

// A Set is a set of addresses. It is immutable and safe for concurrent use; nil is the
// empty one.
type Set struct {
	v4 []span[uint32]
	v6 []span[wide]
}

// A span is the addresses from first to last. Those of a set are in order, and apart.
type span[A any] struct{ first, last A }

// A wide is an address of IPv6.
type wide struct{ high, low uint64 }

func (w wide) compare(o wide) int {
	return cmp.Or(cmp.Compare(w.high, o.high), cmp.Compare(w.low, o.low))
}

// next is the address behind w, of which there is none behind the last.
func (w wide) next() wide {
	if w.low++; w.low == 0 {
		w.high++
	}
	return w
}

// New returns the addresses that lie within one of the prefixes, which may overlap.
// Errors are those of [given.Prefixes].
func New(prefixes []netip.Prefix) (*Set, error) {
	prefixes, err := given.Prefixes(prefixes)
	if err != nil {
		return nil, err
	}
	s := new(Set)
	for _, p := range prefixes {
		host := p.Addr().BitLen() - p.Bits() // bits that are anything
		if p.Addr().Is4() {
			first := narrow(p.Masked().Addr())
			s.v4 = append(s.v4, span[uint32]{first, first | uint32(uint64(1)<<host-1)})
			continue
		}
		first := widen(p.Masked().Addr())
		last := first
		if host >= 64 {
			last.low = ^uint64(0)
			last.high |= uint64(1)<<(host-64) - 1 // 1<<64 is 0: all
		} else {
			last.low |= uint64(1)<<host - 1
		}
		s.v6 = append(s.v6, span[wide]{first, last})
	}
	s.v4 = join(s.v4, cmp.Compare[uint32], func(a uint32) uint32 { return a + 1 })
	s.v6 = join(s.v6, wide.compare, wide.next)
	return s, nil
}

// join puts spans in order, and makes one of those that overlap or touch.
func join[A comparable](spans []span[A], compare func(a, b A) int, next func(A) A) []span[A] {
	slices.SortFunc(spans, func(a, b span[A]) int { return compare(a.first, b.first) })
	out := spans[:0]
	for _, s := range spans {
		if n := len(out) - 1; n >= 0 && (compare(s.first, out[n].last) <= 0 || s.first == next(out[n].last)) {
			if compare(s.last, out[n].last) > 0 {
				out[n].last = s.last
			}
			continue
		}
		out = append(out, s)
	}
	return slices.Clip(out)
}

// Contains reports whether addr is in the set. An address of IPv4 that is written as
// one of IPv6 is that of IPv4; a zone is not looked at; the zero Addr is in none.
func (s *Set) Contains(addr netip.Addr) bool {
	if s == nil {
		return false
	}
	addr = addr.Unmap()
	switch {
	case addr.Is4():
		a := narrow(addr)
		i, found := slices.BinarySearchFunc(s.v4, a, func(s span[uint32], a uint32) int { return cmp.Compare(s.first, a) })
		return found || i > 0 && a <= s.v4[i-1].last
	case addr.Is6():
		a := widen(addr)
		i, found := slices.BinarySearchFunc(s.v6, a, func(s span[wide], a wide) int { return s.first.compare(a) })
		return found || i > 0 && a.compare(s.v6[i-1].last) <= 0
	}
	return false
}

func narrow(addr netip.Addr) uint32 {
	b := addr.As4()
	return binary.BigEndian.Uint32(b[:])
}

func widen(addr netip.Addr) wide {
	b := addr.As16()
	return wide{binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])}
}
