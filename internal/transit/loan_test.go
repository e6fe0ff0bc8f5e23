package transit

import (
	"net/http"
	"testing"
)

type lent struct{ reused int }

func (p *lent) Reuse() { p.reused++ }

// A loan comes back if the last who was lent it says so, and nobody objects later.
func TestLoan(t *testing.T) {
	first, second := new(http.ServeMux), new(http.ServeMux)
	for name, c := range map[string]struct {
		serve func(l *Loan)
		back  bool
	}{
		"nobody says anything": {func(*Loan) {}, false},
		"from hand to hand": {func(l *Loan) {
			l.Hand(first)
			if l.Takes(first) {
				l.Hand(second)
			}
			if l.Takes(second) {
				l.Return()
			}
		}, true},
		"past somebody": {func(l *Loan) {
			l.Hand(first)
			if l.Takes(second) {
				l.Return()
			}
		}, false},
		"twice": {func(l *Loan) {
			l.Hand(first)
			l.Takes(first)
			if l.Takes(first) {
				l.Return()
			}
		}, false},
		"kept after all": {func(l *Loan) {
			l.Return()
			l.Keep()
		}, false},
	} {
		var l Loan
		var p lent
		l.Add(&p)
		c.serve(&l)
		if back := l.End(); back != c.back || p.reused == 1 != c.back {
			t.Errorf("%s: it comes back: %v, its part %d times; want %v", name, back, p.reused, c.back)
		}
	}
	var l Loan
	parts := make([]lent, maxParts+1)
	for i := range parts {
		l.Add(&parts[i])
	}
	l.Return()
	if !l.End() || parts[maxParts].reused != 0 {
		t.Error("more than may be added is left to the collector")
	}
}
