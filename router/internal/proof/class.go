package proof

import (
	"github.com/foretier/foretier/internal/target"
)

// A Class is a path that stands for those that no condition tells from it.
type Class struct {
	raw      string
	Readings target.Readings // of the path
	came     *Class          // as which it came, if its path has been turned into this
}

func newClass(raw string) *Class { return &Class{raw: raw, Readings: target.Read(raw)} }

// first returns the class as which requests came.
func (c *Class) first() *Class {
	if c.came != nil {
		return c.came
	}
	return c
}

// A Turn makes one path of another.
type Turn struct {
	Path  func(string) (string, bool) // not ok: it goes no further
	Back  func(string) (string, bool) // a path that it makes this one of, if there is one
	Looks Condition                   // what it tells paths apart by; may be nil
}

// before returns the paths that t makes some paths of, as far as it knows, and those that
// it leaves as they are.
func (t *Turn) before(paths []string) (out []string) {
	for _, path := range paths {
		if to, ok := t.Path(path); ok && to == path {
			out = append(out, path)
		}
		if from, ok := t.Back(path); ok && from != path {
			out = append(out, from)
		}
	}
	return out
}

// turned returns the class that t makes of c, or nil.
func (c *Class) turned(t *Turn) *Class {
	path, ok := t.Path(c.raw)
	if !ok {
		return nil
	}
	if path == c.raw {
		return c
	}
	out := newClass(path)
	out.came = c.first()
	return out
}

// A Pattern is a set of paths that a condition names.
type Pattern interface {
	// String tells it from others.
	String() string
	// Paths returns some of its paths, with word where any segment may stand.
	Paths(word string) []string
	// Filled returns one of its paths, with segments where any may stand.
	Filled(segments, word string) string
	// Single reports whether it covers no other pattern, as one path does not.
	Single() bool
	// Covers reports whether it holds all paths of another. It may be wrong only
	// by saying no.
	Covers(Pattern) bool
}

// An Ender is a pattern of all paths that have one ending.
type Ender interface {
	Pattern
	// Ending returns it.
	Ending() string
}
