package router

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// A formula is what a matcher says of the requests of one path class. Its
// leaves are sets of values of one dimension.
type formula struct {
	op    byte   // one of the below
	dim   int    // of a leaf
	set   []bool // of a leaf, over the dimension's values
	parts []formula
}

const (
	opTrue  = 'T'
	opFalse = 'F'
	opIn    = 'i' // its value is in the set
	opHas   = 'h' // one of its values is in the set, where it may have several
	opLacks = 'l' // none is
	opAnd   = '&'
	opOr    = '|'
)

func constant(b bool) formula {
	if b {
		return formula{op: opTrue}
	}
	return formula{op: opFalse}
}

func (f formula) isTrue() bool  { return f.op == opTrue }
func (f formula) isFalse() bool { return f.op == opFalse }

// not returns the negation, pushed down to the sets.
func (f formula) not() formula {
	switch f.op {
	case opTrue:
		return constant(false)
	case opFalse:
		return constant(true)
	case opIn:
		set := make([]bool, len(f.set))
		for i, in := range f.set {
			set[i] = !in
		}
		return formula{op: opIn, dim: f.dim, set: set}
	case opHas:
		return formula{op: opLacks, dim: f.dim, set: f.set}
	case opLacks:
		return formula{op: opHas, dim: f.dim, set: f.set}
	}
	out := formula{op: opAnd, parts: make([]formula, len(f.parts))}
	if f.op == opAnd {
		out.op = opOr
	}
	for i, part := range f.parts {
		out.parts[i] = part.not()
	}
	return out
}

// join builds a conjunction or disjunction without constants in it.
func join(op byte, parts []formula) formula {
	neutral := op == opAnd
	kept := parts[:0]
	for _, part := range parts {
		switch {
		case part.isTrue() && !neutral, part.isFalse() && neutral:
			return part
		case part.isTrue() || part.isFalse():
		default:
			kept = append(kept, part)
		}
	}
	switch len(kept) {
	case 0:
		return constant(neutral)
	case 1:
		return kept[0]
	}
	return formula{op: op, parts: kept}
}

// A state says what is known of a request. The nil state knows nothing. States
// are never modified.
type state []known

// known is what is known of one dimension.
type known struct {
	dim      int
	possible []bool   // the values that it may have; nil for all
	needs    [][]bool // sets of each of which it has one, where it may have several
}

// of returns what s knows of a dimension, and where that stands, or len(s).
func (s state) of(dim int) (known, int) {
	for i := range s {
		if s[i].dim == dim {
			return s[i], i
		}
	}
	return known{dim: dim}, len(s)
}

// A dimension is one thing that matchers look at besides the path, and values
// of it: whatever value a request has, no matcher tells it from one of these. A
// request has one of them, the first by default, or if several is set any number,
// by default none; a matcher then matches it if it matches one of its values alone.
type dimension struct {
	key     string
	several bool
	values  []func(*http.Request)
	names   []string // for Assuming; empty where the request shows the value
}

// A pathPattern is a set of paths that a matcher names.
type pathPattern interface {
	// String tells it from others.
	String() string
	// Paths returns some of its paths, with word where any segment may stand.
	Paths(word string) []string
	// Filled returns one of its paths, with segments where any may stand.
	Filled(segments, word string) string
	// Covers reports whether it holds all paths of another. It may be wrong only
	// by saying no.
	Covers(pathPattern) bool
}

// A space is all that a set of matchers tells apart. A nil one matches everything.
type space struct {
	word     string // that no matcher names, for whatever is none of what they name
	list     []dimension
	index    map[string]int
	shown    map[string]bool    // values of dimensions with several
	sets     map[string]formula // of matchers that look at no path, by their words
	patterns []pathPattern
	told     [][]pathPattern // the same, by matcher
	prefixes []string        // below which they look at every reading
}

func newSpace(ms []provenCondition) *space {
	d := &space{word: unnamed(ms), index: make(map[string]int), shown: make(map[string]bool), sets: make(map[string]formula)}
	d.add("method", func(r *http.Request) { r.Method = http.MethodGet })
	d.add("host", func(r *http.Request) { r.Host = "shop.example" })
	d.add("host", func(r *http.Request) { r.Host = d.word + ".invalid" })
	d.add("host", func(r *http.Request) { r.Host = d.word }) // below no host
	for _, m := range []string{"HEAD", "POST", "PUT", strings.ToUpper(d.word)} {
		d.add("method", func(r *http.Request) { r.Method = m })
	}
	for _, m := range ms {
		begin := len(d.patterns)
		if m != nil {
			m.Tell(d)
		}
		d.told = append(d.told, d.patterns[begin:])
	}
	return d
}

// unnamed returns a word that stands nowhere in what matchers say.
func unnamed(ms []provenCondition) string {
	var named strings.Builder
	for _, m := range ms {
		if m != nil {
			named.WriteString(strings.ToLower(m.String()) + "\n")
		}
	}
	word := "zz"
	for strings.Contains(named.String(), word) {
		word += "z"
	}
	return word
}

// dimension returns the index of the dimension key.
func (d *space) dimension(key string) int {
	i, ok := d.index[key]
	if !ok {
		i = len(d.list)
		d.index[key] = i
		d.list = append(d.list, dimension{key: key})
	}
	return i
}

// add adds a value of the dimension key, of which a request has one.
func (d *space) add(key string, value func(*http.Request)) {
	d.addNamed(key, "", value)
}

func (d *space) addNamed(key, name string, value func(*http.Request)) {
	dim := &d.list[d.dimension(key)]
	dim.values, dim.names = append(dim.values, value), append(dim.names, name)
}

// addSeveral adds a value of the dimension key, of which a request may have
// several. The name tells it from others.
func (d *space) addSeveral(key, name string, value func(*http.Request)) {
	if id := key + "\x00" + name; !d.shown[id] {
		d.shown[id] = true
		d.add(key, value)
		d.list[d.index[key]].several = true
	}
}

// addOpen adds a dimension of which nobody knows whether a request has it. The
// names are for Assuming.
func (d *space) addOpen(key, no, yes string) {
	if !d.has(key) {
		d.addNamed(key, no, func(*http.Request) {})
		d.addNamed(key, yes, func(*http.Request) {})
	}
}

// maybe says that a request has the second value of the open dimension key.
func (d *space) maybe(key string) formula {
	d.addOpen(key, "", "")
	return formula{op: opIn, dim: d.index[key], set: []bool{false, true}}
}

func (d *space) has(key string) bool { _, ok := d.index[key]; return ok }

// set says that a request has a value of the dimension key that m matches.
func (d *space) set(key string, m interface {
	Match(*http.Request) bool
	String() string
}) formula {
	words := m.String()
	if f, ok := d.sets[words]; ok {
		return f
	}
	f := formula{op: opIn, dim: d.index[key]}
	if d.list[f.dim].several {
		f.op = opHas
	}
	for _, value := range d.list[f.dim].values {
		r := &http.Request{URL: &url.URL{Path: "/"}, Header: http.Header{}}
		value(r)
		f.set = append(f.set, m.Match(r))
	}
	d.sets[words] = f
	return f
}

// satisfy calls yield with states that together are all of s in which f holds,
// and returns its first error. No two states overlap.
func (d *space) satisfy(f formula, s state, yield func(state) error) error {
	switch f.op {
	case opTrue:
		return yield(s)
	case opFalse:
		return nil
	case opIn, opHas, opLacks:
		if narrowed, ok := s.narrow(f); ok {
			return yield(narrowed)
		}
		return nil
	case opAnd:
		if len(f.parts) == 0 {
			return yield(s)
		}
		rest := formula{op: opAnd, parts: f.parts[1:]}
		return d.satisfy(f.parts[0], s, func(s state) error { return d.satisfy(rest, s, yield) })
	}
	if len(f.parts) == 0 {
		return nil
	}
	if err := d.satisfy(f.parts[0], s, yield); err != nil {
		return err
	}
	rest := formula{op: opOr, parts: f.parts[1:]}
	return d.satisfy(f.parts[0].not(), s, func(s state) error { return d.satisfy(rest, s, yield) })
}

// narrow returns s with what a leaf adds to it, or false if nothing is left.
func (s state) narrow(f formula) (state, bool) {
	old, at := s.of(f.dim)
	now := old
	switch f.op {
	case opIn:
		now.possible = both(old.possible, f.set, true)
	case opLacks:
		now.possible = both(old.possible, f.set, false)
	case opHas:
		now.needs = append(slices.Clip(old.needs), f.set)
	}
	if f.op == opIn && !slices.Contains(now.possible, true) ||
		slices.ContainsFunc(now.needs, func(need []bool) bool { return first(now.possible, need) < 0 }) {
		return s, false
	}
	if f.op != opHas && slices.Equal(now.possible, old.possible) {
		return s, true
	}
	out := make(state, max(len(s), at+1))
	copy(out, s)
	out[at] = now
	return out, true
}

// both returns those of possible that are in the set, or those that are not.
func both(possible, set []bool, in bool) []bool {
	out := make([]bool, len(set))
	for i := range set {
		out[i] = (possible == nil || possible[i]) && set[i] == in
	}
	return out
}

// first returns the first index that is in both sets, of which the first may be nil
// for all, or -1.
func first(possible, set []bool) int {
	for i := range set {
		if set[i] && (possible == nil || possible[i]) {
			return i
		}
	}
	return -1
}

// request returns a request of a class and state.
func (d *space) request(class *pathClass, s state) *http.Request {
	r := &http.Request{Header: http.Header{}, RequestURI: class.raw, RemoteAddr: "192.0.2.1:1024", Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Body: http.NoBody}
	var err error
	if r.URL, err = url.ParseRequestURI(class.raw); err != nil {
		r.URL = &url.URL{Path: class.raw}
	}
	for i, dim := range d.list {
		k, _ := s.of(i)
		dim.apply(r, k)
	}
	return r
}

// apply gives r the fewest values that are known of it.
func (dim *dimension) apply(r *http.Request, k known) {
	if !dim.several {
		dim.values[max(0, slices.Index(k.possible, true))](r)
		return
	}
	has := make([]bool, len(dim.values))
	for _, need := range k.needs {
		if first(has, need) < 0 {
			i := first(k.possible, need)
			has[i] = true
			dim.values[i](r)
		}
	}
}

// assumed names the answers that s presupposes.
func (d *space) assumed(s state) (out []string) {
	for i, dim := range d.list {
		k, _ := s.of(i)
		if dim.several || !slices.Contains(k.possible, false) {
			continue
		}
		if name := dim.names[slices.Index(k.possible, true)]; name != "" {
			out = append(out, name)
		}
	}
	return out
}
