package proof

import (
	"fmt"
	"slices"
	"strings"
)

// classes returns a path for each class that the conditions, base paths before a path,
// and turns that it takes one after another, tell apart, as far as patterns and prefixes
// show it.
func (d *Space) classes(bases []string, turns [][]*Turn) (out []*Class) {
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
	for _, ending := range endings(patterns) {
		for _, path := range d.ended(ending, patterns, prefixes) {
			add(path)
		}
	}
	for _, class := range slices.Clone(out) {
		for _, row := range turns {
			paths := []string{class.raw}
			for _, turn := range slices.Backward(row) {
				paths = turn.before(paths)
				for _, path := range paths {
					add(path)
				}
			}
		}
	}
	return slices.DeleteFunc(out, func(c *Class) bool { return c.Readings.Refusal != "" })
}

// endings returns the endings that patterns tell apart, none among them.
func endings(patterns []Pattern) (out []string) {
	for _, pattern := range patterns {
		if e, ok := pattern.(Ender); ok {
			out = append(out, e.Ending())
		}
	}
	if out == nil {
		return nil
	}
	return append(out, "")
}

// ended returns paths with an ending: of each pattern that leaves room for it, and of
// each form of a prefix. What stands before the ending makes no longer one of it.
func (d *Space) ended(ending string, patterns []Pattern, prefixes []string) (out []string) {
	last := d.word + d.gap + ending
	out = append(out, "/"+last)
	if strings.HasPrefix(ending, "/") {
		out = append(out, ending)
	}
	for _, pattern := range patterns {
		out = append(out, pattern.Filled(last, d.word))
		if dir, ok := strings.CutSuffix(pattern.String(), "*"); ok && strings.HasPrefix(dir, "/") {
			out = append(out, pattern.Filled(d.word+"/"+last, d.word))
		}
	}
	for _, p := range prefixes {
		for _, form := range forms(p, d.word) {
			out = append(out, form+"/"+last, form+ending)
		}
	}
	return out
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
