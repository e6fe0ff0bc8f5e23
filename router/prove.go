package router

import (
	"fmt"
	"net/http"

	"github.com/foretier/foretier/router/internal/proof"
)

// Prove returns nil if the claim holds for every request, a [*Counterexample]
// for which it does not, or an error that wraps [ErrOpaque] and names the rule
// and the handler's type where it cannot see.
//
// It walks the classes that the matchers of all rules and of the claim divide
// requests into, by method, host, header, cookie, client and path. Of paths it
// takes representatives: each pattern filled in, alone and behind each admin
// prefix that is resolved away, and each prefix in the forms that readings
// tell apart. A function in [Test], and whether a regular expression in a
// [Path] also takes the other paths of its class, is tried both ways.
//
// The tier's own answers reach nobody, so claims hold for them: [Maintenance],
// [NotAuthority], [Redirect], the 403 of Allow, http.NotFoundHandler and
// http.RedirectHandler.
//
// Of a handler it looks at what it wraps (Wraps) and, at the bottom, at the
// base paths that a pool adds (BasePaths). Middleware in Use is trusted not to
// rewrite paths; where that is not so, only a pool's Refuse holds.
func (rt *Router) Prove(c Claim) error { return rt.rules.Load().prove(c) }

func (t table) prove(c Claim) error {
	if err := c.check(); err != nil {
		return fmt.Errorf("router: claim: %w", err)
	}
	found, err := proof.Prove(newChart(c).table(&t), asCondition(c.Of))
	switch {
	case err != nil:
		return fmt.Errorf("router: %w", err)
	case found == nil:
		return nil
	case found.Opaque:
		return fmt.Errorf("%w: %s of rule %q, which %s %s reaches: want it in Only, or a type with a method Wraps() []http.Handler that returns what it calls",
			ErrOpaque, handlerName(found.Handler), found.Rule, found.Request.Method, found.Request.RequestURI)
	}
	return &Counterexample{Request: found.Request, Rule: found.Rule, Handler: found.Handler, Outgoing: found.Outgoing, Assuming: found.Assuming}
}

// A chart draws tables and handlers for the prover of one claim.
type chart struct {
	claim Claim
	drawn map[*table]*proof.Table
}

func newChart(c Claim) *chart { return &chart{c, make(map[*table]*proof.Table)} }

// A drawer is a handler that draws itself: it sets Table or Ways of what stands for
// it in proofs.
type drawer interface {
	draw(c *chart, out *proof.Handler, depth int)
}

// table draws t, once: its router may be below it.
func (c *chart) table(t *table) *proof.Table {
	if out := c.drawn[t]; out != nil {
		return out
	}
	out := new(proof.Table)
	c.drawn[t] = out
	for _, rule := range *t {
		drawn := proof.Rule{Name: rule.Name, When: asCondition(rule.When), To: c.handler(rule.To, 0)}
		if len(rule.Allow) > 0 {
			drawn.Allow = asCondition(rule.allowed())
		}
		out.Rules = append(out.Rules, drawn)
	}
	return out
}

// handler draws h, which is so deep below its rule.
func (c *chart) handler(h http.Handler, depth int) *proof.Handler {
	if depth > maxDepth {
		return &proof.Handler{Handler: h, Ends: true}
	}
	out := &proof.Handler{Handler: h, Ends: c.claim.allows(h) || answersItself(h)}
	if h, ok := h.(drawer); ok {
		h.draw(c, out, depth)
		return out
	}
	if wrapper, ok := h.(interface{ Wraps() []http.Handler }); ok {
		for _, inner := range wrapper.Wraps() {
			out.Ways = append(out.Ways, proof.Way{To: c.handler(inner, depth+1)})
		}
		out.Ends = out.Ends || len(out.Ways) == 0
	}
	if pool, ok := h.(interface{ BasePaths() []string }); ok {
		out.Bases = pool.BasePaths()
	}
	_, out.Backends = h.(http.RoundTripper)
	return out
}

// A condition is a matcher as the prover asks it.
type condition struct{ Matcher }

func asCondition(m Matcher) proof.Condition {
	if m == nil {
		return nil
	}
	return condition{m}
}

func (c condition) Tell(d *proof.Space) { c.Matcher.tell(d) }
func (c condition) Says(d *proof.Space, class *proof.Class) proof.Formula {
	return c.Matcher.says(d, class)
}
