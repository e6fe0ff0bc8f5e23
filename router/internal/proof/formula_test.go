package proof

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// A request of these tests has one of three values of dimension 0 and any of those
// of dimension 1.
type request struct {
	one     int
	several [3]bool
}

func eachRequest(yield func(request) bool) {
	for one := range 3 {
		for bits := range 8 {
			if !yield(request{one, [3]bool{bits&1 != 0, bits&2 != 0, bits&4 != 0}}) {
				return
			}
		}
	}
}

// meets says what f is by its definition.
func (r request) meets(f Formula) bool {
	switch f.op {
	case opTrue, opFalse:
		return f.op == opTrue
	case opIn:
		return f.set[r.one]
	case opHas, opLacks:
		return (first(r.several[:], f.set) >= 0) == (f.op == opHas)
	case opAnd:
		return !slices.ContainsFunc(f.parts, func(part Formula) bool { return !r.meets(part) })
	}
	return slices.ContainsFunc(f.parts, r.meets)
}

// in reports whether r is of a state.
func (r request) in(s state) bool {
	for _, k := range s {
		if k.dim == 0 && !k.possible[r.one] {
			return false
		}
		if k.dim == 1 {
			for i, has := range r.several {
				if has && k.possible != nil && !k.possible[i] {
					return false
				}
			}
			for _, need := range k.needs {
				if first(r.several[:], need) < 0 {
					return false
				}
			}
		}
	}
	return true
}

func random(rnd *rand.Rand, depth int) Formula {
	n := 8
	if depth == 0 {
		n = 5
	}
	set := []bool{rnd.IntN(2) == 0, rnd.IntN(2) == 0, rnd.IntN(2) == 0}
	parts := func() []Formula {
		out := make([]Formula, rnd.IntN(4))
		for i := range out {
			out[i] = random(rnd, depth-1)
		}
		return out
	}
	switch rnd.IntN(n) {
	case 0:
		return Constant(rnd.IntN(2) == 0)
	case 1, 2:
		return Formula{op: opIn, dim: 0, set: set}
	case 3, 4:
		return Formula{op: opHas, dim: 1, set: set}
	case 5:
		return All(parts())
	case 6:
		return Any(parts())
	}
	return random(rnd, depth-1).Not()
}

// All that formulas and states can say of few requests is compared with each of the
// requests.
func TestFormulasByAllRequests(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 20_000 {
		f, g := random(rnd, 4), random(rnd, 3)
		var states []state
		_ = state(nil).satisfy(f, func(s state) error { states = append(states, s); return nil }) // yield returns none
		choices := maxChoices
		for _, s := range states {
			possible := false
			for r := range eachRequest {
				possible = possible || r.in(s)
			}
			if !possible {
				t.Fatalf("%+v: no request is in state %+v", f, s)
			}
		}
		both, meets := false, state(nil).meets([]Formula{f, g}, &choices)
		for r := range eachRequest {
			want, in := r.meets(f), 0
			for _, s := range states {
				if r.in(s) {
					in++
				}
			}
			if want && in != 1 || !want && in != 0 {
				t.Fatalf("%+v: %v is in %d states", f, r, in)
			}
			if r.meets(f.Not()) == want {
				t.Fatalf("%+v: %v meets it and its negation alike", f, r)
			}
			both = both || want && r.meets(g)
		}
		if meets != both {
			t.Fatalf("%+v and %+v: met together: %t, want %t", f, g, meets, both)
		}
	}
}
