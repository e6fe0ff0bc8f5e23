package proof

import (
	"errors"
	"net/http"
	"slices"
	"strings"
)

// A Table is rules in the order in which they are asked.
type Table struct{ Rules []Rule }

// A Rule takes requests of those that the rules before it leave.
type Rule struct {
	Name  string
	When  Condition // which requests it takes
	Allow Condition // and which of these it hands on
	To    *Handler
}

// A Handler is what requests reach. It has a table, ways, or neither.
type Handler struct {
	Handler  http.Handler
	Allowed  bool     // requests may reach it, or it answers by itself
	Table    *Table   // of a router
	Turn     *Turn    // of the path, on its one way; may be nil
	Ways     []Way    // to the handlers below
	Backends bool     // without table and ways: it is known that backends are below
	Bases    []string // what it puts before paths on the way to them
}

// A Way is where a handler may hand those requests that meet a condition.
type Way struct {
	When Condition
	To   *Handler
}

// A Reached is a request that reaches a handler and must not.
type Reached struct {
	Request  *http.Request
	Rule     string // its name
	Handler  http.Handler
	Opaque   bool     // it is not known what is below the handler
	Outgoing string   // the path that a backend gets, where this is what must not reach it
	Assuming []string // answers that nobody knows
}

func (*Reached) Error() string { return "reached" }

// maxSteps bounds a proof to a few seconds. Ordinary tables of 200 rules need
// some thousand steps.
const maxSteps = 300_000

// ErrTooHard is what Prove returns when it has given up.
var ErrTooHard = errors.New("too many classes of requests to prove a claim")

// A prover holds what does not change during a proof.
type prover struct {
	of    Condition
	space *Space
	steps int
}

// Prove returns a request that meets a condition and by a table reaches a handler
// that it must not, or nil if there is none.
func Prove(t *Table, of Condition) (*Reached, error) {
	conditions, bases := t.parts(nil, nil, make(map[*Table]bool))
	turns, ok := t.turns(nil, nil, nil)
	if !ok {
		return nil, ErrTooHard
	}
	if of != nil {
		conditions = append(conditions, of)
	}
	slices.Sort(bases)
	bases = slices.Compact(bases)
	p := &prover{of: of, space: NewSpace(conditions)}
	var opaque *Reached
	for _, class := range p.space.classes(bases, turns) {
		// As it comes: whatever the claim is about must not reach others.
		err := state(nil).satisfy(says(of, p.space, class), func(s state) error {
			return p.walk(t, class, s, false)
		})
		if err == nil && of != nil && len(bases)+len(turns) > 0 {
			// As it goes out: nor what a base path or a turn makes it.
			err = p.walk(t, class, nil, true)
		}
		var found *Reached
		switch {
		case err == nil:
		case !errors.As(err, &found):
			return nil, err
		case !found.Opaque:
			return found, nil
		case opaque == nil:
			opaque = found // a counterexample elsewhere tells more
		}
	}
	return opaque, nil
}

// parts returns all conditions and base paths in a table and below it.
func (t *Table) parts(conditions []Condition, bases []string, seen map[*Table]bool) ([]Condition, []string) {
	if seen[t] {
		return conditions, bases
	}
	seen[t] = true
	var below func(h *Handler)
	below = func(h *Handler) {
		bases = append(bases, h.Bases...)
		if h.Turn != nil && h.Turn.Looks != nil {
			conditions = append(conditions, h.Turn.Looks)
		}
		if h.Table != nil {
			conditions, bases = h.Table.parts(conditions, bases, seen)
		}
		for _, w := range h.Ways {
			if w.When != nil {
				conditions = append(conditions, w.When)
			}
			below(w.To)
		}
	}
	for _, rule := range t.Rules {
		for _, c := range [...]Condition{rule.When, rule.Allow} {
			if c != nil {
				conditions = append(conditions, c)
			}
		}
		below(rule.To)
	}
	return conditions, bases
}

// maxTurns is how many rows of turns there may be.
const maxTurns = 1000

// turns adds to rows the turns that paths take one after another on their ways through a
// table and what is below it, behind those of before. It is not ok if there are too many.
func (t *Table) turns(rows [][]*Turn, before []*Turn, above []*Table) ([][]*Turn, bool) {
	if slices.Contains(above, t) {
		return rows, true
	}
	above = append(slices.Clip(above), t)
	var below func(h *Handler, before []*Turn) bool
	below = func(h *Handler, before []*Turn) bool {
		if h.Allowed {
			return true
		}
		if h.Turn != nil {
			before = append(slices.Clip(before), h.Turn)
			if rows = append(rows, before); len(rows) > maxTurns {
				return false
			}
		}
		ok := true
		if h.Table != nil {
			rows, ok = h.Table.turns(rows, before, above)
		}
		for _, w := range h.Ways {
			ok = ok && below(w.To, before)
		}
		return ok
	}
	for _, rule := range t.Rules {
		if !below(rule.To, before) {
			return rows, false
		}
	}
	return rows, true
}

// walk follows all requests of a class and state down the rules: as they come, or if
// outgoing is set as what base paths make of them.
func (p *prover) walk(t *Table, class *Class, s state, outgoing bool) error {
	var fs []Formula
	last := -1 // the last rule that could break the claim
	for i, rule := range t.Rules {
		fs = append(fs, says(rule.When, p.space, class))
		if !fs[i].IsFalse() && mayBreak(rule.To, outgoing, nil) {
			last = i
		}
		if fs[i].IsTrue() {
			break // no request of this class goes further
		}
	}
	return p.walkFrom(t.Rules[:last+1], fs, class, s, outgoing)
}

func (p *prover) walkFrom(rules []Rule, fs []Formula, class *Class, s state, outgoing bool) error {
	for i := range rules {
		f := fs[i]
		if f.IsFalse() {
			continue
		}
		if p.steps++; p.steps > maxSteps {
			return ErrTooHard
		}
		rule := &rules[i]
		// Whom it does not allow gets the tier's own 403.
		err := s.satisfy(f, func(s state) error {
			return s.satisfy(says(rule.Allow, p.space, class), func(s state) error { return p.reach(rule, rule.To, class, s, outgoing) })
		})
		if err != nil || f.IsTrue() {
			return err
		}
		// The next rule gets what this one does not match.
		return s.satisfy(f.Not(), func(s state) error { return p.walkFrom(rules[i+1:], fs[i+1:], class, s, outgoing) })
	}
	return nil
}

// mayBreak reports whether any request at all could break the claim at h. The
// tables above are looked at already: a router may be within itself.
func mayBreak(h *Handler, outgoing bool, above []*Table) bool {
	switch {
	case h.Allowed, slices.Contains(above, h.Table):
		return false
	case h.Turn != nil:
		return mayBreak(h.Ways[0].To, false, above) // what goes out is another path
	case h.Table != nil:
		above = append(above, h.Table)
		return slices.ContainsFunc(h.Table.Rules, func(r Rule) bool { return mayBreak(r.To, outgoing, above) })
	case len(h.Ways) > 0:
		return slices.ContainsFunc(h.Ways, func(w Way) bool { return mayBreak(w.To, outgoing, above) })
	}
	return !outgoing || len(h.Bases) > 0
}

// reach judges that requests of a class and state reach h by rule.
func (p *prover) reach(rule *Rule, h *Handler, class *Class, s state, outgoing bool) error {
	switch {
	case h.Allowed:
		return nil
	case h.Turn != nil:
		if class = class.turned(h.Turn); class == nil {
			return nil
		}
		return p.reach(rule, h.Ways[0].To, class, s, outgoing)
	case h.Table != nil:
		return p.walk(h.Table, class, s, outgoing)
	case len(h.Ways) > 0:
		for _, w := range h.Ways {
			err := s.satisfy(says(w.When, p.space, class), func(s state) error { return p.reach(rule, w.To, class, s, outgoing) })
			if err != nil {
				return err
			}
		}
		return nil
	case !outgoing:
		return p.found(rule, h, class, s, "")
	}
	bases := h.Bases
	if len(bases) == 0 && class.came != nil {
		bases = []string{""}
	}
	for _, base := range bases {
		out := newClass(joinPath(base, class.raw))
		err := s.satisfy(says(p.of, p.space, out), func(s state) error {
			return p.found(rule, h, class, s, out.raw)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// found returns a request of a class and state as an error, so that no other is
// looked for.
func (p *prover) found(rule *Rule, h *Handler, class *Class, s state, path string) error {
	return &Reached{Request: p.space.request(class.first(), s), Rule: rule.Name, Handler: h.Handler, Opaque: path == "" && !h.Backends,
		Outgoing: path, Assuming: p.space.assumed(s)}
}

// joinPath puts a backend's base path before a path, as pools do.
func joinPath(base, path string) string { return strings.TrimSuffix(base, "/") + path }
