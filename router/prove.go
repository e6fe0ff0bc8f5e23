package router

import (
	"fmt"
	"net/http"
	"slices"

	"github.com/foretier/foretier/health"
	"github.com/foretier/foretier/router/internal/proof"
)

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
		return fmt.Errorf("%w: %s of rule %q, which %s %s reaches: want it in Only, or a type with a method Wraps() []http.Handler that returns what it calls, as health.Wrap makes one",
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
// it in proofs. Above are the handlers of its rule down to itself.
type drawer interface {
	draw(c *chart, out *proof.Handler, above []http.Handler)
}

// table draws t, once: its router may be below it.
func (c *chart) table(t *table) *proof.Table {
	if out := c.drawn[t]; out != nil {
		return out
	}
	out := new(proof.Table)
	c.drawn[t] = out
	for _, rule := range *t {
		drawn := proof.Rule{Name: rule.Name, When: asCondition(rule.When), To: c.handler(rule.handler, nil)}
		if len(rule.Allow) > 0 {
			drawn.Allow = asCondition(rule.allowed())
		}
		out.Rules = append(out.Rules, drawn)
	}
	return out
}

// handler draws h, which its rule reaches through those above. What it reaches when
// it is above itself it has reached already.
func (c *chart) handler(h http.Handler, above []http.Handler) *proof.Handler {
	if slices.ContainsFunc(above, func(a http.Handler) bool { return same(a, h) }) {
		return &proof.Handler{Handler: h, Allowed: true}
	}
	above = append(slices.Clip(above), h)
	out := &proof.Handler{Handler: h, Allowed: c.claim.allows(h) || answersItself(h)}
	if h, ok := h.(drawer); ok {
		h.draw(c, out, above)
		return out
	}
	if wrapper, ok := h.(health.Wrapper); ok {
		for _, inner := range wrapper.Wraps() {
			out.Ways = append(out.Ways, proof.Way{To: c.handler(inner, above)})
		}
		out.Allowed = out.Allowed || len(out.Ways) == 0
	}
	if pool, ok := h.(health.BasePather); ok {
		out.Bases = pool.BasePaths()
	}
	_, out.Backends = h.(http.RoundTripper)
	return out
}
