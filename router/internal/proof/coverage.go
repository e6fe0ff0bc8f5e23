package proof

import "slices"

// A Coverage tells which of some conditions hold wherever others do.
type Coverage struct {
	space  *Space
	holds  []Formula   // where each condition is met, by any path
	fails  []Formula   // and where it is not
	within [][]Formula // which of its patterns hold where others of it do
}

// NewCoverage returns what is known of the conditions, to be asked by their index.
func NewCoverage(ms []Condition) *Coverage {
	c := &Coverage{space: NewSpace(ms)}
	for i, m := range ms {
		f := says(m, c.space, nil)
		c.holds, c.fails = append(c.holds, f), append(c.fails, f.Not())
		c.within = append(c.within, c.implied(i, i))
	}
	return c
}

// Covers reports whether condition wide holds of every request of which narrow
// does, if there is any. It may be wrong only by saying no.
func (c *Coverage) Covers(wide, narrow int) bool {
	known := slices.Concat(c.within[wide], c.within[narrow], c.implied(wide, narrow), c.implied(narrow, wide))
	possible := func(fs ...Formula) bool {
		choices := maxChoices
		return state(nil).meets(append(fs, known...), &choices)
	}
	return !possible(c.holds[narrow], c.fails[wide]) && possible(c.holds[narrow])
}

// implied says which patterns of condition a hold where patterns of b do.
func (c *Coverage) implied(a, b int) (out []Formula) {
	for _, wide := range c.space.told[a] {
		if wide.Single() {
			continue // lists of many paths are usual
		}
		for _, narrow := range c.space.told[b] {
			if wide.Covers(narrow) && narrow.String() != wide.String() {
				out = append(out, Any([]Formula{c.space.Maybe(narrow.String()).Not(), c.space.Maybe(wide.String())}))
			}
		}
	}
	return out
}
