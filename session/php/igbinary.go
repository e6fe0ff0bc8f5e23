package php

import (
	"math"
)

// The kinds of igbinary's format 2. Where three sizes follow each other, their
// counts take 1, 2 and 4 bytes, the highest first.
const (
	igNull        = 0x00
	igArrayRef    = 0x01 // three sizes
	igFalse       = 0x04
	igTrue        = 0x05
	igLong8       = 0x06 // and its negative, then those of 2 and 4 bytes
	igDouble      = 0x0c
	igStringEmpty = 0x0d
	igStringID    = 0x0e // three sizes: one that came before
	igString      = 0x11 // three sizes
	igArray       = 0x14 // three sizes
	igObject      = 0x17 // three sizes, of the class's name
	igObjectID    = 0x1a // three sizes: of a class that came before
	igObjectOwn   = 0x1d // three sizes: what an object made of itself
	igLong64      = 0x20 // and its negative
	igObjectRef   = 0x22 // three sizes
	igReference   = 0x25 // the next value is shared
	igEnum        = 0x27 // in place of the fields: the name of a case follows
)

// igbinary reads what the serialize_handler igbinary writes.
func (p *parser) igbinary() (Values, bool) {
	if !p.take("\x00\x00\x00\x02") {
		return nil, false
	}
	g := igParser{parser: p}
	v, ok := g.value(0)
	array, isArray := v.(Array)
	return Values(array), ok && isArray
}

type igParser struct {
	*parser
	strings []string // all so far, which ids point to
}

// next takes n bytes as a number.
func (g *igParser) next(n int) (v uint64, ok bool) {
	if len(g.in) < n {
		return 0, false
	}
	for i := range n {
		v = v<<8 | uint64(g.in[i])
	}
	g.in = g.in[n:]
	return v, true
}

// count reads the number after a kind of three sizes.
func (g *igParser) count(kind, first byte) (int, bool) {
	n, ok := g.next(1 << (kind - first))
	return int(n), ok && n <= math.MaxInt32
}

// value reads one value: one case a kind, or a row of them.
func (g *igParser) value(depth int) (any, bool) {
	if g.left--; g.left < 0 || depth > maxDepth {
		return nil, false
	}
	k, ok := g.next(1)
	if !ok {
		return nil, false
	}
	kind := byte(k)
	switch {
	case kind == igNull:
		return nil, true
	case kind == igFalse, kind == igTrue:
		return kind == igTrue, true
	case kind == igDouble:
		bits, ok := g.next(8)
		return math.Float64frombits(bits), ok
	case kind >= igLong8 && kind < igDouble:
		return g.long(1<<((kind-igLong8)/2), kind%2 == 1)
	case kind == igLong64, kind == igLong64+1:
		return g.long(8, kind != igLong64)
	case kind >= igStringEmpty && kind < igArray:
		return g.text(kind)
	case kind >= igArray && kind < igObject:
		return g.array(kind, depth, "")
	case kind >= igObject && kind < igObjectOwn:
		return g.object(kind, depth)
	case kind >= igArrayRef && kind < igFalse:
		_, ok := g.count(kind, igArrayRef)
		return Opaque{}, ok
	case kind >= igObjectRef && kind < igReference:
		_, ok := g.count(kind, igObjectRef)
		return Opaque{}, ok
	case kind == igReference:
		return g.value(depth + 1)
	}
	return nil, false
}

func (g *igParser) long(size int, negative bool) (any, bool) {
	n, ok := g.next(size)
	if negative {
		n = -n
	}
	return int64(n), ok
}

// text reads a string, or the id of one.
func (g *igParser) text(kind byte) (string, bool) {
	switch {
	case kind == igStringEmpty:
		return "", true
	case kind < igString:
		id, ok := g.count(kind, igStringID)
		if !ok || id >= len(g.strings) {
			return "", false
		}
		return g.strings[id], true
	}
	return g.newText(kind, igString)
}

func (g *igParser) newText(kind, first byte) (string, bool) {
	n, ok := g.count(kind, first)
	if !ok || n > len(g.in) {
		return "", false
	}
	s := g.in[:n]
	g.in = g.in[n:]
	g.strings = append(g.strings, s)
	return s, true
}

// array reads a count, keys and values, of an array or of an object's fields.
func (g *igParser) array(kind byte, depth int, mark string) (any, bool) {
	n, ok := g.count(kind, igArray)
	if !ok || n > len(g.in) { // a value has at least a byte
		return nil, false
	}
	return members(n, mark, func() (any, bool) { return g.value(depth + 1) })
}

// object reads a class's name, and the fields or what the object made of
// itself.
func (g *igParser) object(kind byte, depth int) (any, bool) {
	var ok bool
	if kind < igObjectID {
		_, ok = g.newText(kind, igObject)
	} else {
		_, ok = g.count(kind, igObjectID)
	}
	k, more := g.next(1)
	if !ok || !more {
		return nil, false
	}
	switch kind := byte(k); {
	case kind >= igArray && kind < igObject:
		return g.array(kind, depth, "\x00")
	case kind >= igObjectOwn && kind < igLong64:
		n, ok := g.count(kind, igObjectOwn)
		if !ok || n > len(g.in) {
			return nil, false
		}
		g.in = g.in[n:]
		return Opaque{}, true
	case kind == igEnum:
		_, ok := g.value(depth + 1)
		return Opaque{}, ok
	}
	return nil, false
}
