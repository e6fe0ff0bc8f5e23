package proof

// A Coverage tells which of some conditions hold wherever others do.
type Coverage struct {
	space *Space
	holds []Formula // where each condition is met, by any path
	fails []Formula // and where it is not
}

// NewCoverage returns what is known of the conditions, to be asked by their index.
func NewCoverage(ms []Condition) *Coverage {
	c := &Coverage{space: NewSpace(ms)}
	for _, m := range ms {
		f := says(m, c.space, nil)
		c.holds, c.fails = append(c.holds, f), append(c.fails, f.Not())
	}
	return c
}

// Covers reports whether condition wide holds of every request of which narrow
// does, if there is any. It may be wrong only by saying no.
func (c *Coverage) Covers(wide, narrow int) bool {
	implied := append(c.implied(wide, narrow), c.implied(narrow, wide)...)
	possible := func(fs ...Formula) bool {
		choices := maxChoices
		return state(nil).meets(append(fs, implied...), &choices)
	}
	return !possible(c.holds[narrow], c.fails[wide]) && possible(c.holds[narrow])
}

// implied says which patterns of condition a hold where patterns of a or b do.
func (c *Coverage) implied(a, b int) (out []Formula) {
	for _, wide := range c.space.told[a] {
		for _, patterns := range [...][]Pattern{c.space.told[a], c.space.told[b]} {
			for _, narrow := range patterns {
				if wide.Covers(narrow) && narrow.String() != wide.String() {
					out = append(out, Any([]Formula{c.space.Maybe(narrow.String()).Not(), c.space.Maybe(wide.String())}))
				}
			}
		}
	}
	return out
}
