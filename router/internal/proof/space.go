package proof

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// A Space is all that some conditions tell apart.
type Space struct {
	word     string // that no condition names, for whatever is none of what they name
	gap      string // a byte that none of them holds
	list     []dimension
	index    map[string]int     // of list, by key
	shown    map[string]bool    // values of dimensions with several
	sets     map[string]Formula // of conditions that look at no path, by their words
	patterns []Pattern
	told     [][]Pattern // the same, by condition
	prefixes []string
}

// A dimension is one thing that conditions look at besides the path, and values
// of it: whatever value a request has, no condition tells it from one of these. A
// request has one of them, the first by default, or if several is set any number,
// by default none; a condition is then met if one of its values alone meets it.
type dimension struct {
	several bool
	values  []func(*http.Request)
	names   []string // for Reached.Assuming; empty where the request shows the value
}

// A Condition is met by some requests. The nil one is met by all.
type Condition interface {
	// String tells it from others.
	String() string
	// Tell adds to a space what it tells apart.
	Tell(*Space)
	// Says returns what it says of the requests of a class, or of all requests if
	// the class is nil.
	Says(*Space, *Class) Formula
}

// NewSpace returns what the conditions tell apart, of which nil ones tell nothing.
func NewSpace(ms []Condition) *Space {
	d := &Space{word: unnamed(ms), gap: unheld(ms), index: make(map[string]int), shown: make(map[string]bool), sets: make(map[string]Formula)}
	d.Add("method", func(r *http.Request) { r.Method = http.MethodGet })
	d.Add("host", func(r *http.Request) { r.Host = "shop.example" })
	d.Add("host", func(r *http.Request) { r.Host = d.word + ".invalid" })
	d.Add("host", func(r *http.Request) { r.Host = d.word }) // below no host
	for _, m := range []string{"HEAD", "POST", "PUT", strings.ToUpper(d.word)} {
		d.Add("method", func(r *http.Request) { r.Method = m })
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

// unnamed returns a word that stands in none of the conditions.
func unnamed(ms []Condition) string {
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

// unheld returns a byte that stands in none of the conditions, and in paths, fields and
// queries for itself.
func unheld(ms []Condition) string {
	var named strings.Builder
	for _, m := range ms {
		if m != nil {
			named.WriteString(m.String())
		}
	}
	for _, c := range "~!$@0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz" {
		if !strings.ContainsRune(named.String(), c) {
			return string(c)
		}
	}
	return "~"
}

// Gap returns a byte that no condition holds: what is between two of them is beside
// nothing else that a condition names.
func (d *Space) Gap() string { return d.gap }

// Word returns a word that no condition names: it stands for all such.
func (d *Space) Word() string { return d.word }

// AddPattern adds paths that a condition tells from others.
func (d *Space) AddPattern(p Pattern) { d.patterns = append(d.patterns, p) }

// AddPrefixes adds paths at or below which a condition looks for every reading of a
// path.
func (d *Space) AddPrefixes(prefixes ...string) { d.prefixes = append(d.prefixes, prefixes...) }

// dimension returns the index of the dimension key.
func (d *Space) dimension(key string) int {
	i, ok := d.index[key]
	if !ok {
		i = len(d.list)
		d.index[key] = i
		d.list = append(d.list, dimension{})
	}
	return i
}

// Add adds a value of the dimension key, of which a request has one. The function
// gives it to a request.
func (d *Space) Add(key string, value func(*http.Request)) {
	d.addNamed(key, "", value)
}

func (d *Space) addNamed(key, name string, value func(*http.Request)) {
	dim := &d.list[d.dimension(key)]
	dim.values, dim.names = append(dim.values, value), append(dim.names, name)
}

// AddSeveral adds a value of the dimension key, of which a request may have
// several. The name tells it from others; what has been added is not added again.
func (d *Space) AddSeveral(key, name string, value func(*http.Request)) {
	if id := key + "\x00" + name; !d.shown[id] {
		d.shown[id] = true
		d.Add(key, value)
		d.list[d.index[key]].several = true
	}
}

// AddOpen adds a dimension of two values of which nobody knows which a request has.
// The words for them are for Reached.Assuming, empty where it goes without saying.
func (d *Space) AddOpen(key, no, yes string) {
	if !d.Has(key) {
		d.addNamed(key, no, func(*http.Request) {})
		d.addNamed(key, yes, func(*http.Request) {})
	}
}

// Has reports whether the dimension key has been added.
func (d *Space) Has(key string) bool { _, ok := d.index[key]; return ok }

// Maybe says that a request has the second value of the open dimension key.
func (d *Space) Maybe(key string) Formula {
	d.AddOpen(key, "", "")
	return Formula{op: opIn, dim: d.index[key], set: []bool{false, true}}
}

// Set says that a request has a value of the dimension key with which a condition on
// that alone is met. Its words tell it from others.
func (d *Space) Set(key, words string, met func(*http.Request) bool) Formula {
	if f, ok := d.sets[words]; ok {
		return f
	}
	f := Formula{op: opIn, dim: d.index[key]}
	if d.list[f.dim].several {
		f.op = opHas
	}
	for _, value := range d.list[f.dim].values {
		r := &http.Request{URL: &url.URL{Path: "/"}, Header: http.Header{}}
		value(r)
		f.set = append(f.set, met(r))
	}
	d.sets[words] = f
	return f
}

// says is what c says of a class.
func says(c Condition, d *Space, class *Class) Formula {
	if c == nil {
		return Constant(true)
	}
	return c.Says(d, class)
}

// satisfy calls yield with states that together are all of s in which f is true,
// and returns its first error. No two states overlap.
func (s state) satisfy(f Formula, yield func(state) error) error {
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
		rest := Formula{op: opAnd, parts: f.parts[1:]}
		return s.satisfy(f.parts[0], func(s state) error { return s.satisfy(rest, yield) })
	}
	if len(f.parts) == 0 {
		return nil
	}
	if err := s.satisfy(f.parts[0], yield); err != nil {
		return err
	}
	rest := Formula{op: opOr, parts: f.parts[1:]}
	return s.satisfy(f.parts[0].Not(), func(s state) error { return s.satisfy(rest, yield) })
}

// request returns a request of a class and state.
func (d *Space) request(class *Class, s state) *http.Request {
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
func (d *Space) assumed(s state) (out []string) {
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
