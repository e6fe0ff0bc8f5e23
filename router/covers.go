package router

import (
	"slices"
)

// maxChoices bounds the search for a request that one condition lets through and
// another does not.
const maxChoices = 1000

// A coverage tells which of some conditions hold wherever others do.
type coverage struct {
	space *space
	holds []formula // of any path, by condition
	fails []formula
}

func newCoverage(ms []provenCondition) *coverage {
	c := &coverage{space: newSpace(ms)}
	for _, m := range ms {
		f := says(m, c.space, nil)
		c.holds, c.fails = append(c.holds, f), append(c.fails, f.not())
	}
	return c
}

// covers reports whether condition wide holds of every request of which narrow
// does, if there is any. It may be wrong only by saying no.
func (c *coverage) covers(wide, narrow int) bool {
	implied := append(c.implied(wide, narrow), c.implied(narrow, wide)...)
	possible := func(fs ...formula) bool {
		choices := maxChoices
		return state(nil).meets(append(fs, implied...), &choices)
	}
	return !possible(c.holds[narrow], c.fails[wide]) && possible(c.holds[narrow])
}

// implied says which patterns of condition a hold where patterns of a or b do.
func (c *coverage) implied(a, b int) (out []formula) {
	for _, wide := range c.space.told[a] {
		for _, patterns := range [...][]pathPattern{c.space.told[a], c.space.told[b]} {
			for _, narrow := range patterns {
				if narrow.String() != wide.String() && wide.Covers(narrow) {
					out = append(out, join(opOr, []formula{c.space.maybe(narrow.String()).not(), c.space.maybe(wide.String())}))
				}
			}
		}
	}
	return out
}

// meets reports whether a request of state s could meet all of fs, or whether that
// takes more choices to find out. First it adds to s what leaves no choice, until
// all that is left are choices; then it tries the parts of one.
func (s state) meets(fs []formula, choices *int) bool {
	for again := true; again; {
		again = false
		var open []formula
		for len(fs) > 0 {
			f := fs[0].under(s)
			fs = fs[1:]
			switch f.op {
			case opTrue:
			case opFalse:
				return false
			case opAnd:
				fs = append(slices.Clone(f.parts), fs...)
			case opOr:
				open = append(open, f)
			default:
				var ok bool
				if s, ok = s.narrow(f); !ok {
					return false
				}
				again = true
			}
		}
		fs = open
	}
	if len(fs) == 0 {
		return true
	}
	if *choices--; *choices < 0 {
		return true
	}
	return slices.ContainsFunc(fs[0].parts, func(part formula) bool {
		return s.meets(append([]formula{part}, fs[1:]...), choices)
	})
}

// under returns what is left of f where s is known.
func (f formula) under(s state) formula {
	switch f.op {
	case opAnd, opOr:
		parts := make([]formula, len(f.parts))
		for i, part := range f.parts {
			parts[i] = part.under(s)
		}
		return join(f.op, parts)
	case opIn, opHas, opLacks:
		k, _ := s.of(f.dim)
		switch in, out := k.judge(f); {
		case !in:
			return constant(false)
		case !out:
			return constant(true)
		}
	}
	return f
}

// judge reports whether a leaf can be true, and whether it can be false.
func (k known) judge(f formula) (in, out bool) {
	if f.op == opIn {
		for i, in1 := range f.set {
			if k.possible == nil || k.possible[i] {
				in, out = in || in1, out || !in1
			}
		}
		return in, out
	}
	in, out = first(k.possible, f.set) >= 0, true
	for _, need := range k.needs {
		elsewhere := false // it may be met by none of the set
		for i := range need {
			elsewhere = elsewhere || need[i] && !f.set[i] && (k.possible == nil || k.possible[i])
		}
		out = out && elsewhere
	}
	if f.op == opLacks {
		return out, in
	}
	return in, out
}
