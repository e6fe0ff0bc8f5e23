package router

import (
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
)

// A formula is what a matcher says of the requests of one path class. Its
// leaves are sets of values of one dimension.
type formula struct {
	op    byte   // one of the below
	dim   int    // of opIn
	set   []bool // of opIn, over the dimension's values
	parts []formula
}

const (
	opTrue  = 'T'
	opFalse = 'F'
	opIn    = 'i'
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

// A state says which values of each dimension are still possible. States are
// never modified.
type state [][]bool

// A dimension is one thing that matchers look at besides the path, and values
// of it, of which no two are told apart by any matcher that are not both
// there. The first is what a request has by default.
type dimension struct {
	key    string
	values []func(*http.Request)
	names  []string // for Assuming; empty where the request shows the value
}

// dimensions are all things that a set of matchers looks at.
type dimensions struct {
	list  []dimension
	index map[string]int
	sets  map[string]formula // of matchers that look at no path, by their words
}

func newDimensions(ms []Matcher) *dimensions {
	d := &dimensions{index: make(map[string]int), sets: make(map[string]formula)}
	d.add("method", "", func(r *http.Request) { r.Method = http.MethodGet })
	d.add("host", "", func(r *http.Request) { r.Host = "shop.example" })
	d.add("host", "", func(r *http.Request) { r.Host = "zz.invalid" })
	for _, m := range []string{"HEAD", "POST", "PUT", "ZZ"} {
		d.add("method", "", func(r *http.Request) { r.Method = m })
	}
	for _, m := range ms {
		d.collect(m)
	}
	return d
}

func (d *dimensions) add(key, name string, value func(*http.Request)) {
	i, ok := d.index[key]
	if !ok {
		i = len(d.list)
		d.index[key] = i
		d.list = append(d.list, dimension{key: key})
	}
	d.list[i].values = append(d.list[i].values, value)
	d.list[i].names = append(d.list[i].names, name)
}

func (d *dimensions) has(key string) bool { _, ok := d.index[key]; return ok }

// collect adds the values that m tells apart.
func (d *dimensions) collect(m Matcher) {
	switch m := m.(type) {
	case methodMatcher:
		for _, method := range m.methods {
			d.add("method", "", func(r *http.Request) { r.Method = method })
		}
	case hostMatcher:
		for _, h := range m.hosts {
			host := strings.Replace(h, "*", "zz", 1)
			d.add("host", "", func(r *http.Request) { r.Host = host })
		}
	case headerMatcher:
		key := "header " + m.name
		if !d.has(key) {
			d.add(key, "", func(*http.Request) {})
			d.add(key, "", func(r *http.Request) { r.Header.Set(m.name, "zz") })
		}
		for _, v := range m.values {
			d.add(key, "", func(r *http.Request) { r.Header.Set(m.name, v) })
		}
	case cookieMatcher:
		key := "cookie " + m.name
		if !d.has(key) {
			d.add(key, "", func(*http.Request) {})
		}
		for _, v := range append([]string{"zz"}, m.values...) {
			d.add(key, "", func(r *http.Request) { r.AddCookie(&http.Cookie{Name: m.name, Value: v}) })
		}
	case clientMatcher:
		if !d.has("client") {
			d.add("client", "", func(r *http.Request) { r.RemoteAddr = "unknown" })
		}
		for _, p := range m.prefixes {
			for _, a := range []netip.Addr{p.Masked().Addr(), lastAddr(p), p.Addr()} {
				d.add("client", "", func(r *http.Request) { r.RemoteAddr = netip.AddrPortFrom(a, 1024).String() })
			}
		}
	case testMatcher:
		if key := m.String(); !d.has(key) {
			d.add(key, m.String()+" says no", func(*http.Request) {})
			d.add(key, m.String()+" says yes", func(*http.Request) {})
		}
	case *pathMatcher:
		for _, p := range m.patterns {
			if key := "path " + p.text; p.regular() && !d.has(key) {
				d.add(key, "", func(*http.Request) {})
				d.add(key, p.text+" does not match another path like it", func(*http.Request) {})
			}
		}
	case allMatcher:
		for _, part := range m {
			d.collect(part)
		}
	case anyMatcher:
		for _, part := range m {
			d.collect(part)
		}
	case notMatcher:
		d.collect(m.m)
	}
}

// lastAddr is the last address of a prefix.
func lastAddr(p netip.Prefix) netip.Addr {
	b := p.Masked().Addr().AsSlice()
	for bit := p.Bits(); bit < len(b)*8; bit++ {
		b[bit/8] |= 1 << (7 - bit%8)
	}
	a, _ := netip.AddrFromSlice(b) // as long as it was
	return a
}

// all is the state in which everything is possible.
func (d *dimensions) all() state {
	s := make(state, len(d.list))
	for i, dim := range d.list {
		s[i] = slices.Repeat([]bool{true}, len(dim.values))
	}
	return s
}

// formula returns what m, or everything if it is nil, says of a class.
func (d *dimensions) formula(m Matcher, class *pathClass) formula {
	switch m := m.(type) {
	case nil:
		return constant(true)
	case *AdminMatcher:
		return constant(m.matchReadings(&class.rd))
	case *pathMatcher:
		parts := make([]formula, 0, len(m.patterns))
		for i := range m.patterns {
			p := &m.patterns[i]
			switch {
			case class.rd.Refusal != "" || !p.match(class.rd.Canonical):
			case p.regular():
				parts = append(parts, formula{op: opIn, dim: d.index["path "+p.text], set: []bool{true, false}})
			default:
				return constant(true)
			}
		}
		return join(opOr, parts)
	case allMatcher:
		return d.compound(opAnd, m, class)
	case anyMatcher:
		return d.compound(opOr, m, class)
	case notMatcher:
		return d.formula(m.m, class).not()
	case testMatcher:
		return formula{op: opIn, dim: d.index[m.String()], set: []bool{false, true}}
	}
	return d.set(m)
}

func (d *dimensions) compound(op byte, ms []Matcher, class *pathClass) formula {
	parts := make([]formula, 0, len(ms))
	for _, part := range ms {
		f := d.formula(part, class)
		if f.isFalse() && op == opAnd || f.isTrue() && op == opOr {
			return f
		}
		parts = append(parts, f)
	}
	return join(op, parts)
}

// set returns the values of its dimension that m matches.
func (d *dimensions) set(m Matcher) formula {
	words := m.String()
	if f, ok := d.sets[words]; ok {
		return f
	}
	f := formula{op: opIn, dim: d.index[dimensionOf(m)]}
	for _, value := range d.list[f.dim].values {
		r := &http.Request{URL: &url.URL{Path: "/"}, Header: http.Header{}}
		value(r)
		f.set = append(f.set, m.match(&view{r: r}))
	}
	d.sets[words] = f
	return f
}

func dimensionOf(m Matcher) string {
	switch m := m.(type) {
	case methodMatcher:
		return "method"
	case hostMatcher:
		return "host"
	case headerMatcher:
		return "header " + m.name
	case cookieMatcher:
		return "cookie " + m.name
	}
	return "client"
}

// satisfy calls yield with states that together are all of s in which f holds,
// and returns its first error. No two states overlap.
func (d *dimensions) satisfy(f formula, s state, yield func(state) error) error {
	switch f.op {
	case opTrue:
		return yield(s)
	case opFalse:
		return nil
	case opIn:
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

// narrow returns s with one dimension limited to f's set, or false if nothing
// is left.
func (s state) narrow(f formula) (state, bool) {
	old := s[f.dim]
	left, changed := false, false
	for i, in := range f.set {
		left = left || in && old[i]
		changed = changed || old[i] && !in
	}
	if !left || !changed {
		return s, left
	}
	values := make([]bool, len(old))
	for i, in := range f.set {
		values[i] = in && old[i]
	}
	out := slices.Clone(s)
	out[f.dim] = values
	return out, true
}

// request returns a request of a class and state.
func (d *dimensions) request(class *pathClass, s state) *http.Request {
	r := &http.Request{Header: http.Header{}, RequestURI: class.raw, RemoteAddr: "192.0.2.1:1024", Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Body: http.NoBody}
	var err error
	if r.URL, err = url.ParseRequestURI(class.raw); err != nil {
		r.URL = &url.URL{Path: class.raw}
	}
	for i, dim := range d.list {
		dim.values[slices.Index(s[i], true)](r)
	}
	return r
}

// assumed names the answers that s presupposes.
func (d *dimensions) assumed(s state) (out []string) {
	for i, dim := range d.list {
		if first := slices.Index(s[i], true); !slices.Equal(s[i], slices.Repeat([]bool{true}, len(s[i]))) && dim.names[first] != "" {
			out = append(out, dim.names[first])
		}
	}
	return out
}
