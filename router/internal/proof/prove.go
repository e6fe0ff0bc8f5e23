package proof

import (
	"errors"
	"net/http"
	"slices"
	"strings"
)

// A Table is rules in the order in which they are asked.
type Table struct{ Rules []Rule }

type Rule struct {
	Name  string
	When  Condition // which requests it takes
	Allow Condition // and which of these it hands on
	To    *Handler
}

// A Handler is what requests reach.
type Handler struct {
	Handler  http.Handler
	Ends     bool     // requests may reach it, or reach nobody by it
	Table    *Table   // of a router
	Ways     []Way    // to the handlers below
	Backends bool     // they are what is below
	Bases    []string // what it puts before paths on the way there
}

// A Way is where a handler may hand those requests that meet a condition.
type Way struct {
	When Condition
	To   *Handler
}

// A Reached is a request that reaches a handler and must not.
type Reached struct {
	Request  *http.Request
	Rule     string
	Handler  http.Handler
	Opaque   bool     // who knows what is below the handler
	Outgoing string   // the path that a backend gets, where this is what must not reach it
	Assuming []string // answers that nobody knows
}

func (*Reached) Error() string { return "reached" }

// maxSteps bounds a proof to a few seconds. Ordinary tables of 200 rules need
// some thousand steps.
const maxSteps = 300_000

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
	if of != nil {
		conditions = append(conditions, of)
	}
	slices.Sort(bases)
	bases = slices.Compact(bases)
	p := &prover{of: of, space: NewSpace(conditions)}
	var opaque *Reached
	for _, class := range p.space.classes(bases) {
		// As it comes: whatever the claim is about must not reach others.
		err := p.space.satisfy(says(of, p.space, class), nil, func(s state) error {
			return p.walk(t, class, s, "")
		})
		if err == nil && of != nil && len(bases) > 0 {
			// As it goes out: nor what a base path turns into it.
			err = p.walk(t, class, nil, "outgoing")
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

// walk follows all requests of a class and state down the rules. With mode
// "outgoing" it looks only at what base paths make of them.
func (p *prover) walk(t *Table, class *Class, s state, mode string) error {
	var fs []Formula
	last := -1 // the last rule that could break the claim
	for i, rule := range t.Rules {
		fs = append(fs, says(rule.When, p.space, class))
		if !fs[i].IsFalse() && mayBreak(rule.To, mode, 0) {
			last = i
		}
		if fs[i].IsTrue() {
			break // no request of this class goes further
		}
	}
	return p.walkFrom(t.Rules[:last+1], fs, class, s, mode)
}

func (p *prover) walkFrom(rules []Rule, fs []Formula, class *Class, s state, mode string) error {
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
		err := p.space.satisfy(f, s, func(s state) error {
			return p.space.satisfy(says(rule.Allow, p.space, class), s, func(s state) error { return p.reach(rule, rule.To, class, s, mode) })
		})
		if err != nil || f.IsTrue() {
			return err
		}
		// Only what the rule leaves goes on.
		return p.space.satisfy(f.Not(), s, func(s state) error { return p.walkFrom(rules[i+1:], fs[i+1:], class, s, mode) })
	}
	return nil
}

// maxRouters ends the search below a router that is within itself.
const maxRouters = 32

// mayBreak reports whether any request at all could break the claim at h.
func mayBreak(h *Handler, mode string, depth int) bool {
	switch {
	case h.Ends || depth > maxRouters:
		return false
	case h.Table != nil:
		return slices.ContainsFunc(h.Table.Rules, func(r Rule) bool { return mayBreak(r.To, mode, depth+1) })
	case len(h.Ways) > 0:
		return slices.ContainsFunc(h.Ways, func(w Way) bool { return mayBreak(w.To, mode, depth+1) })
	}
	return mode == "" || len(h.Bases) > 0
}

// reach judges that requests of a class and state reach h by rule.
func (p *prover) reach(rule *Rule, h *Handler, class *Class, s state, mode string) error {
	switch {
	case h.Ends:
		return nil
	case h.Table != nil:
		return p.walk(h.Table, class, s, mode)
	case len(h.Ways) > 0:
		for _, w := range h.Ways {
			err := p.space.satisfy(says(w.When, p.space, class), s, func(s state) error { return p.reach(rule, w.To, class, s, mode) })
			if err != nil {
				return err
			}
		}
		return nil
	case mode == "":
		return p.found(rule, h, class, s, "")
	}
	for _, base := range h.Bases {
		out := newClass(joinPath(base, class.raw))
		err := p.space.satisfy(says(p.of, p.space, out), s, func(s state) error {
			return p.found(rule, h, class, s, out.raw)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (p *prover) found(rule *Rule, h *Handler, class *Class, s state, outgoing string) error {
	return &Reached{Request: p.space.request(class, s), Rule: rule.Name, Handler: h.Handler, Opaque: outgoing == "" && !h.Backends,
		Outgoing: outgoing, Assuming: p.space.assumed(s)}
}

// joinPath puts a backend's base path before a path, as pools do.
func joinPath(base, path string) string { return strings.TrimSuffix(base, "/") + path }
