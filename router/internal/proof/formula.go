package proof

// A Formula is what a condition says of the requests of one class: true, false, or
// true where the values of dimensions are in sets. Formulas are never modified.
type Formula struct {
	op    byte   // one of the below
	dim   int    // of a leaf
	set   []bool // of a leaf, over the dimension's values
	parts []Formula
}

const (
	opTrue  = 'T'
	opFalse = 'F'
	opIn    = 'i' // its value is in the set
	opHas   = 'h' // one of its values is in the set, where it may have several
	opLacks = 'l' // none is
	opAnd   = '&'
	opOr    = '|'
)

// Constant is what is so, or is not, for each request of the class.
func Constant(b bool) Formula {
	if b {
		return Formula{op: opTrue}
	}
	return Formula{op: opFalse}
}

// IsTrue and IsFalse report whether f is a Constant.
func (f Formula) IsTrue() bool  { return f.op == opTrue }
func (f Formula) IsFalse() bool { return f.op == opFalse }

// Not returns the negation of f, pushed down to the sets.
func (f Formula) Not() Formula {
	switch f.op {
	case opTrue:
		return Constant(false)
	case opFalse:
		return Constant(true)
	case opIn:
		set := make([]bool, len(f.set))
		for i, in := range f.set {
			set[i] = !in
		}
		return Formula{op: opIn, dim: f.dim, set: set}
	case opHas:
		return Formula{op: opLacks, dim: f.dim, set: f.set}
	case opLacks:
		return Formula{op: opHas, dim: f.dim, set: f.set}
	}
	out := Formula{op: opAnd, parts: make([]Formula, len(f.parts))}
	if f.op == opAnd {
		out.op = opOr
	}
	for i, part := range f.parts {
		out.parts[i] = part.Not()
	}
	return out
}

// All is true where all parts are, which it may overwrite.
func All(parts []Formula) Formula { return join(opAnd, parts) }

// Any is true where one of the parts is, which it may overwrite.
func Any(parts []Formula) Formula { return join(opOr, parts) }

// join builds a conjunction or disjunction without constants in it.
func join(op byte, parts []Formula) Formula {
	neutral := op == opAnd
	kept := parts[:0]
	for _, part := range parts {
		switch {
		case part.IsTrue() && !neutral, part.IsFalse() && neutral:
			return part
		case part.IsTrue() || part.IsFalse():
		default:
			kept = append(kept, part)
		}
	}
	switch len(kept) {
	case 0:
		return Constant(neutral)
	case 1:
		return kept[0]
	}
	return Formula{op: op, parts: kept}
}
