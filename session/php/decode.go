package php

import (
	"fmt"
	"strconv"
	"strings"
)

const (
	maxDepth  = 64      // arrays and objects within each other
	maxValues = 100_000 // in one session
)

// Decode reads what session_encode writes with the serialize_handler php (PHP's
// default), php_serialize, php_binary or igbinary, whichever it is. Anything
// else, such as msgpack, is an ErrEncoding.
func Decode(data []byte) (Values, error) {
	if len(data) == 0 {
		return nil, nil
	}
	s := string(data)
	// Each must take all of it, so that none is mistaken for another.
	for _, form := range []func(*parser) (Values, bool){(*parser).igbinary, (*parser).serialized, (*parser).named, (*parser).binary} {
		p := parser{in: s, left: maxValues}
		if v, ok := form(&p); ok && p.in == "" {
			return v, nil
		}
	}
	return nil, fmt.Errorf("%w: %d bytes that begin with %.16q", ErrEncoding, len(data), s)
}

// parser reads values off the front of in.
type parser struct {
	in   string
	left int // values that may still be read
}

// serialized reads one array of all variables: php_serialize.
func (p *parser) serialized() (Values, bool) {
	v, ok := p.value(0)
	array, isArray := v.(Array)
	return Values(array), ok && isArray
}

// named reads name|value after name|value: php.
func (p *parser) named() (Values, bool) {
	out := make(Values)
	for p.in != "" {
		name, rest, ok := strings.Cut(p.in, "|")
		if !ok {
			return nil, false
		}
		p.in = rest
		if out[name], ok = p.value(0); !ok {
			return nil, false
		}
	}
	return out, true
}

// binary reads names with their length in a byte before each: php_binary.
func (p *parser) binary() (Values, bool) {
	out := make(Values)
	for p.in != "" {
		n := int(p.in[0])
		if n > 127 || len(p.in) < 1+n {
			return nil, false
		}
		name := p.in[1 : 1+n]
		p.in = p.in[1+n:]
		var ok bool
		if out[name], ok = p.value(0); !ok {
			return nil, false
		}
	}
	return out, true
}

// value reads one value as serialize writes it: one case a kind.
func (p *parser) value(depth int) (any, bool) {
	if p.left--; p.left < 0 || depth > maxDepth || len(p.in) < 2 {
		return nil, false
	}
	kind := p.in[0]
	if kind == 'N' {
		return nil, p.take("N;")
	}
	if p.in[1] != ':' {
		return nil, false
	}
	p.in = p.in[2:]
	switch kind {
	case 'b':
		text, ok := p.until(';')
		return text == "1", ok && (text == "0" || text == "1")
	case 'i':
		text, ok := p.until(';')
		n, err := strconv.ParseInt(text, 10, 64)
		return n, ok && err == nil
	case 'd':
		text, ok := p.until(';')
		f, err := strconv.ParseFloat(text, 64) // reads INF and NAN too
		return f, ok && err == nil
	case 's':
		text, ok := p.quoted()
		return text, ok && p.take(";")
	case 'a':
		return p.array(depth, "")
	case 'O':
		_, ok := p.quoted()
		if !ok || !p.take(":") {
			return nil, false
		}
		return p.array(depth, "\x00")
	case 'C': // class:length:{what the class made of itself}
		if _, ok := p.quoted(); !ok || !p.take(":") {
			return nil, false
		}
		n, ok := p.number(':')
		if !ok || !p.take("{") || n > len(p.in) {
			return nil, false
		}
		p.in = p.in[n:]
		return Opaque{}, p.take("}")
	case 'E': // an enum's case
		_, ok := p.quoted()
		return Opaque{}, ok && p.take(";")
	case 'r', 'R': // a value that came before
		_, ok := p.number(';')
		return Opaque{}, ok
	}
	return nil, false
}

// array reads count:{key value ...}.
func (p *parser) array(depth int, mark string) (any, bool) {
	n, ok := p.number(':')
	if !ok || n > len(p.in) || !p.take("{") { // a value has more than a byte
		return nil, false
	}
	out, ok := members(n, mark, func() (any, bool) { return p.value(depth + 1) })
	return out, ok && p.take("}")
}

// members reads n keys and values of an array or of an object's fields, whose names
// may begin with their class or an asterisk between two marks.
func members(n int, mark string, value func() (any, bool)) (Array, bool) {
	out := make(Array)
	for range n {
		key, ok := value()
		if !ok {
			return nil, false
		}
		name, ok := keyName(key, mark)
		if !ok {
			return nil, false
		}
		if out[name], ok = value(); !ok {
			return nil, false
		}
	}
	return out, true
}

// keyName returns an array's key as a name.
func keyName(key any, mark string) (string, bool) {
	switch key := key.(type) {
	case int64:
		return strconv.FormatInt(key, 10), true
	case string:
		if mark != "" && strings.HasPrefix(key, mark) {
			key = key[strings.LastIndex(key, mark)+1:]
		}
		return key, true
	}
	return "", false
}

// quoted reads length:"bytes".
func (p *parser) quoted() (string, bool) {
	n, ok := p.number(':')
	if !ok || !p.take(`"`) || n > len(p.in) {
		return "", false
	}
	text := p.in[:n]
	p.in = p.in[n:]
	return text, p.take(`"`)
}

// number reads a count up to end.
func (p *parser) number(end byte) (int, bool) {
	text, ok := p.until(end)
	n, err := strconv.ParseUint(text, 10, 31)
	return int(n), ok && err == nil
}

func (p *parser) until(end byte) (string, bool) {
	text, rest, ok := strings.Cut(p.in, string(end))
	p.in = rest
	return text, ok
}

func (p *parser) take(prefix string) (ok bool) {
	p.in, ok = strings.CutPrefix(p.in, prefix)
	return ok
}
