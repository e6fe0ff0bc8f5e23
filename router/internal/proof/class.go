package proof

import (
	"slices"
	"strings"

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
	// Covers reports whether it holds all paths of another. It may be wrong only
	// by saying no.
	Covers(Pattern) bool
}

// classes returns a path for each class that the conditions, and base paths before
// a path, tell apart, as far as patterns and prefixes show it.
func (d *Space) classes(bases []string) (out []*Class) {
	prefixes := slices.Clone(d.prefixes)
	slices.Sort(prefixes)
	prefixes = slices.Compact(prefixes)
	byName := func(a, b Pattern) int { return strings.Compare(a.String(), b.String()) }
	patterns := slices.SortedFunc(slices.Values(d.patterns), byName)
	patterns = slices.CompactFunc(patterns, func(a, b Pattern) bool { return byName(a, b) == 0 })

	seen := make(map[string]bool)
	add := func(raw string) {
		if !seen[raw] {
			seen[raw] = true
			out = append(out, newClass(raw))
		}
	}
	add("/")
	add("/" + d.word)
	for _, p := range prefixes {
		for _, form := range forms(p, d.word) {
			add(form)
		}
		for _, base := range bases {
			// What a base path completes to the prefix.
			if rest, ok := strings.CutPrefix(p, strings.TrimSuffix(base, "/")); ok {
				add("/" + strings.TrimPrefix(rest, "/"))
			}
		}
	}
	for _, pattern := range patterns {
		for _, path := range pattern.Paths(d.word) {
			add(path)
			for _, p := range prefixes {
				add(p + "/.." + path) // read unresolved it is admin
			}
		}
		for _, p := range prefixes {
			// Parameters that take the prefix's own segments.
			add(pattern.Filled(strings.Trim(p, "/"), d.word))
		}
	}
	return slices.DeleteFunc(out, func(c *Class) bool { return c.Readings.Refusal != "" })
}

// forms are the forms of a prefix that readings tell apart.
func forms(p, word string) []string {
	segments := strings.Count(p, "/")
	return []string{
		p,
		p + "/" + word,
		strings.ToUpper(p),
		"/%" + hex(p[1]) + p[2:],
		"/" + p,
		"/%20" + p[1:],
		p + ";x",
		p + ".x",
		"/" + word + "/.." + p,
		"/index.php" + p,
		"//" + word + p,
		p + strings.Repeat("/..", segments) + "/" + word,
	}
}

func hex(c byte) string {
	const digits = "0123456789ABCDEF"
	return string([]byte{digits[c>>4], digits[c&15]})
}
