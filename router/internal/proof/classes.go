package proof

import (
	"fmt"
	"slices"
	"strings"
)

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
		fmt.Sprintf("/%%%02X", p[1]) + p[2:],
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
