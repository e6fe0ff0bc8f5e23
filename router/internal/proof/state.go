package proof

import "slices"

// A state says what is known of a request. The nil state knows nothing. States
// are never modified.
type state []known

// known is what is known of one dimension.
type known struct {
	dim      int
	possible []bool   // the values that it may have; nil for all
	needs    [][]bool // sets of each of which it has one, where it may have several
}

// of returns what s knows of a dimension, and where that stands, or len(s).
func (s state) of(dim int) (known, int) {
	for i := range s {
		if s[i].dim == dim {
			return s[i], i
		}
	}
	return known{dim: dim}, len(s)
}

// narrow returns s with what a leaf adds to it, or false if nothing is left.
func (s state) narrow(f Formula) (state, bool) {
	old, at := s.of(f.dim)
	now, ok := old.narrow(f)
	if !ok || f.op != opHas && slices.Equal(now.possible, old.possible) {
		return s, ok
	}
	out := make(state, max(len(s), at+1))
	copy(out, s)
	out[at] = now
	return out, true
}

// narrow returns k with what a leaf adds to it, or false if nothing is left.
func (k known) narrow(f Formula) (known, bool) {
	switch f.op {
	case opIn:
		k.possible = both(k.possible, f.set, true)
	case opLacks:
		k.possible = both(k.possible, f.set, false)
	case opHas:
		k.needs = append(slices.Clip(k.needs), f.set)
	}
	unmet := func(need []bool) bool { return first(k.possible, need) < 0 }
	return k, (f.op != opIn || slices.Contains(k.possible, true)) && !slices.ContainsFunc(k.needs, unmet)
}

// meets reports whether a request of state s could meet all of fs, or whether that
// takes more choices to find out. First it adds to s what leaves no choice, until
// all that is left are choices; then it tries the parts of one.
func (s state) meets(fs []Formula, choices *int) bool {
	s = slices.Clone(s)
	for again := true; again; {
		again = false
		var open []Formula
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
				k, at := s.of(f.dim)
				k, ok := k.narrow(f)
				if !ok {
					return false
				}
				if at == len(s) {
					s = append(s, k)
				}
				s[at], again = k, true
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
	return slices.ContainsFunc(fs[0].parts, func(part Formula) bool {
		return s.meets(append([]Formula{part}, fs[1:]...), choices)
	})
}

// under returns what is left of f where s is known.
func (f Formula) under(s state) Formula {
	switch f.op {
	case opAnd, opOr:
		parts := make([]Formula, len(f.parts))
		for i, part := range f.parts {
			parts[i] = part.under(s)
		}
		return join(f.op, parts)
	case opIn, opHas, opLacks:
		k, _ := s.of(f.dim)
		switch in, out := k.judge(f); {
		case !in:
			return Constant(false)
		case !out:
			return Constant(true)
		}
	}
	return f
}

// maxChoices bounds the search for a request that one condition lets through and
// another does not.
const maxChoices = 1000

// both returns those of possible that are in the set, or those that are not.
func both(possible, set []bool, in bool) []bool {
	out := make([]bool, len(set))
	for i := range set {
		out[i] = (possible == nil || possible[i]) && set[i] == in
	}
	return out
}

// first returns the first index that is in both sets, of which the first may be nil
// for all, or -1.
func first(possible, set []bool) int {
	for i := range set {
		if set[i] && (possible == nil || possible[i]) {
			return i
		}
	}
	return -1
}

// judge reports whether a leaf can be true, and whether it can be false.
func (k known) judge(f Formula) (in, out bool) {
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
