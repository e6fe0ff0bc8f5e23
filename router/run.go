package router

import (
	"maps"
	"slices"
)

// A run is many rules of a table, one behind the other, that go by paths: by what a path
// begins with it finds those that may take it, instead of asking each.
type run struct {
	end   int              // the rule behind it
	by    map[string][]int // the rules with a pattern that begins so, in order
	sizes []int            // of the beginnings, ascending
}

// longRun is how many rules are worth a run.
const longRun = 12

// findRuns gives each long run to its first rule.
func (t table) findRuns() {
	for i := 0; i < len(t); i++ {
		r := &run{end: i, by: make(map[string][]int)}
		for ; r.end < len(t); r.end++ {
			path := t[r.end].byPath()
			if path == nil {
				break
			}
			r.add(r.end, path)
		}
		if r.end-i >= longRun {
			sizes := make(map[int]bool)
			for begins := range r.by {
				sizes[len(begins)] = true
			}
			r.sizes = slices.Sorted(maps.Keys(sizes))
			t[i].run = r
		}
		i = max(i, r.end-1)
	}
}

// byPath returns the paths without one of which the rule's condition asks for nothing
// else, or nil.
func (c *compiled) byPath() *pathMatcher {
	when := c.When
	if all, ok := when.(allMatcher); ok && len(all) > 0 {
		when = all[0]
	}
	path, _ := when.(*pathMatcher)
	return path
}

func (r *run) add(i int, path *pathMatcher) {
	for _, p := range path.patterns {
		if have := r.by[p.prefix]; len(have) == 0 || have[len(have)-1] != i {
			r.by[p.prefix] = append(have, i)
		}
	}
}

// pick returns the first of the run's rules, of t, that takes v, or -1.
func (r *run) pick(t table, v *view) int {
	var room [16][]int
	lists := room[:0] // of who may take it; a rule may be in several
	for _, size := range r.sizes {
		if size > len(v.path) {
			break
		}
		if list := r.by[v.path[:size]]; list != nil {
			lists = append(lists, list)
		}
	}
	for {
		next := -1
		for _, list := range lists {
			if len(list) > 0 && (next < 0 || list[0] < next) {
				next = list[0]
			}
		}
		if next < 0 || t[next].matches(v) {
			return next
		}
		for i, list := range lists {
			if len(list) > 0 && list[0] == next {
				lists[i] = list[1:]
			}
		}
	}
}
