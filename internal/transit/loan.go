package transit

// A Loan says whether the memory of a request may serve another one once it has been
// answered: the request itself, its header, its URL and its context with the record, the
// writer and its header, and what the stages have added. A handler may keep all of that,
// so what was lent comes back only if everybody who has had it in hand is a stage that
// keeps nothing, from the server to the one that answers. Its zero value is lent to nobody,
// and never comes back.
//
// It passes from stage to stage: see relay. A stage that shows the request, or anything of
// it, to functions that are not the tier's own names nobody.
type Loan struct {
	relay
	back  bool
	parts [maxParts]Reusable
	n     int
}

// maxParts is how many parts may be added: the edge's, the router's and the pool's, and
// one more.
const maxParts = 4

// A Reusable is a part of a request's memory.
type Reusable interface {
	// Reuse says that nobody has the part in hand any more. It forgets all that the
	// part holds, so that who had it nevertheless finds nothing there.
	Reuse()
}

// Add adds a part, which comes back with the rest.
func (l *Loan) Add(part Reusable) {
	if l.n < maxParts {
		l.parts[l.n] = part
		l.n++
	}
}

// Return says that the stage which was lent the request last keeps nothing of it, now that
// it has answered.
func (l *Loan) Return() { l.back = true }

// Keep says that somebody may keep something after all.
func (l *Loan) Keep() { l.back = false }

// End ends the loan, when the request has been answered and nobody looks at it any more. It
// reports whether the memory has come back; then its parts have been told.
func (l *Loan) End() bool {
	if !l.back {
		return false
	}
	for _, part := range l.parts[:l.n] {
		part.Reuse()
	}
	return true
}
