package proof

import (
	"github.com/foretier/foretier/internal/target"
)

// A Class is a path that stands for those that no condition tells from it.
type Class struct {
	raw      string
	Readings target.Readings // of the path
}

func newClass(raw string) *Class { return &Class{raw, target.Read(raw)} }

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
