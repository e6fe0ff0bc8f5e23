package router

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
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
	found, err := prove(newChart(c).table(t), asCondition(c.Of))
	switch {
	case err != nil:
		return fmt.Errorf("router: %w", err)
	case found == nil:
		return nil
	case found.opaque:
		return fmt.Errorf("%w: %s of rule %q, which %s %s reaches: want it in Only, or a type with a method Wraps() []http.Handler that returns what it calls",
			ErrOpaque, handlerName(found.handler), found.rule, found.request.Method, found.request.RequestURI)
	}
	return &Counterexample{Request: found.request, Rule: found.rule, Handler: found.handler, Outgoing: found.outgoing, Assuming: found.assuming}
}

// A chart draws tables and handlers for the prover of one claim.
type chart struct {
	claim   Claim
	routers map[*Router]*provenTable
}

func newChart(c Claim) *chart { return &chart{c, make(map[*Router]*provenTable)} }

func (c *chart) table(t table) *provenTable {
	out := new(provenTable)
	c.draw(out, t)
	return out
}

func (c *chart) draw(out *provenTable, t table) {
	for _, rule := range t {
		drawn := provenRule{name: rule.Name, when: asCondition(rule.When), to: c.handler(rule.To, 0)}
		if len(rule.Allow) > 0 {
			drawn.allow = asCondition(rule.allowed())
		}
		out.rules = append(out.rules, drawn)
	}
}

// router draws the table of a router, once: it may be within itself.
func (c *chart) router(rt *Router) *provenTable {
	if c.routers[rt] == nil {
		c.routers[rt] = new(provenTable)
		c.draw(c.routers[rt], *rt.rules.Load())
	}
	return c.routers[rt]
}

func (c *chart) handler(h http.Handler, depth int) *provenHandler {
	out := &provenHandler{handler: h, ends: c.claim.allows(h) || answersItself(h) || depth > maxDepth}
	if out.ends && depth > maxDepth {
		return out
	}
	switch f := h.(type) {
	case *Router:
		out.table = c.router(f)
		return out
	case *fallback:
		out.ways = []way{
			{to: c.handler(f.first, depth+1)},
			{when: asCondition(Method(http.MethodGet)), to: c.handler(f.then, depth+1)},
		}
		return out
	}
	if wrapper, ok := h.(interface{ Wraps() []http.Handler }); ok {
		for _, inner := range wrapper.Wraps() {
			out.ways = append(out.ways, way{to: c.handler(inner, depth+1)})
		}
		out.ends = out.ends || len(out.ways) == 0
	}
	if pool, ok := h.(interface{ BasePaths() []string }); ok {
		out.bases = pool.BasePaths()
	}
	_, out.backends = h.(http.RoundTripper)
	return out
}

// A condition is a matcher as the prover asks it.
type condition struct{ Matcher }

func asCondition(m Matcher) provenCondition {
	if m == nil {
		return nil
	}
	return condition{m}
}

func (c condition) Tell(d *space)                           { c.Matcher.tell(d) }
func (c condition) Says(d *space, class *pathClass) formula { return c.Matcher.says(d, class) }

// A provenCondition is met by some requests. The nil one is met by all.
type provenCondition interface {
	// String tells it from others.
	String() string
	// Tell adds to a space what it tells apart.
	Tell(*space)
	// Says returns what it says of the requests of a class, or of all requests if
	// the class is nil.
	Says(*space, *pathClass) formula
}

// A provenTable is rules in the order in which they are asked.
type provenTable struct{ rules []provenRule }

type provenRule struct {
	name  string
	when  provenCondition // which requests it takes
	allow provenCondition // and which of these it hands on
	to    *provenHandler
}

// A provenHandler is what requests reach.
type provenHandler struct {
	handler  http.Handler
	ends     bool         // requests may reach it, or reach nobody by it
	table    *provenTable // of a router
	ways     []way        // to the handlers below
	backends bool         // they are what is below
	bases    []string     // what it puts before paths on the way there
}

// A way is where a handler may hand those requests that meet a condition.
type way struct {
	when provenCondition
	to   *provenHandler
}

// maxSteps bounds a proof to a few seconds. Ordinary tables of 200 rules need
// some thousand steps.
const maxSteps = 300_000

var errTooHard = errors.New("too many classes of requests to prove a claim")

// A reached is a request that reaches a handler and must not.
type reached struct {
	request  *http.Request
	rule     string
	handler  http.Handler
	opaque   bool     // who knows what is below the handler
	outgoing string   // the path that a backend gets, where this is what must not reach it
	assuming []string // answers that nobody knows
}

func (*reached) Error() string { return "reached" }

// A prover holds what does not change during a proof.
type prover struct {
	of    provenCondition
	dims  *space
	steps int
}

// prove returns a request that meets a condition and by a table reaches a handler
// that it must not, or nil if there is none.
func prove(t *provenTable, of provenCondition) (*reached, error) {
	conditions, bases := t.parts(nil, nil, make(map[*provenTable]bool))
	if of != nil {
		conditions = append(conditions, of)
	}
	slices.Sort(bases)
	bases = slices.Compact(bases)
	p := &prover{of: of, dims: newSpace(conditions)}
	var opaque *reached
	for _, class := range p.dims.pathClasses(bases) {
		// As it comes: whatever the claim is about must not reach others.
		err := p.dims.satisfy(says(of, p.dims, class), nil, func(s state) error {
			return p.walk(t, class, s, "")
		})
		if err == nil && of != nil && len(bases) > 0 {
			// As it goes out: nor what a base path turns into it.
			err = p.walk(t, class, nil, "outgoing")
		}
		var found *reached
		switch {
		case err == nil:
		case !errors.As(err, &found):
			return nil, err
		case !found.opaque:
			return found, nil
		case opaque == nil:
			opaque = found // a counterexample elsewhere tells more
		}
	}
	return opaque, nil
}

// parts returns all conditions and base paths in a table and below it.
func (t *provenTable) parts(conditions []provenCondition, bases []string, seen map[*provenTable]bool) ([]provenCondition, []string) {
	if seen[t] {
		return conditions, bases
	}
	seen[t] = true
	var below func(h *provenHandler)
	below = func(h *provenHandler) {
		bases = append(bases, h.bases...)
		if h.table != nil {
			conditions, bases = h.table.parts(conditions, bases, seen)
		}
		for _, w := range h.ways {
			if w.when != nil {
				conditions = append(conditions, w.when)
			}
			below(w.to)
		}
	}
	for _, rule := range t.rules {
		for _, c := range [...]provenCondition{rule.when, rule.allow} {
			if c != nil {
				conditions = append(conditions, c)
			}
		}
		below(rule.to)
	}
	return conditions, bases
}

// walk follows all requests of a class and state down the rules. With mode
// "outgoing" it looks only at what base paths make of them.
func (p *prover) walk(t *provenTable, class *pathClass, s state, mode string) error {
	var fs []formula
	last := -1 // the last rule that could break the claim
	for i, rule := range t.rules {
		fs = append(fs, says(rule.when, p.dims, class))
		if !fs[i].isFalse() && mayBreak(rule.to, mode, 0) {
			last = i
		}
		if fs[i].isTrue() {
			break // no request of this class goes further
		}
	}
	return p.walkFrom(t.rules[:last+1], fs, class, s, mode)
}

func (p *prover) walkFrom(rules []provenRule, fs []formula, class *pathClass, s state, mode string) error {
	for i := range rules {
		f := fs[i]
		if f.isFalse() {
			continue
		}
		if p.steps++; p.steps > maxSteps {
			return errTooHard
		}
		rule := &rules[i]
		// Whom it does not allow gets the tier's own 403.
		err := p.dims.satisfy(f, s, func(s state) error {
			return p.dims.satisfy(says(rule.allow, p.dims, class), s, func(s state) error { return p.reach(rule, rule.to, class, s, mode) })
		})
		if err != nil || f.isTrue() {
			return err
		}
		// Only what the rule leaves goes on.
		return p.dims.satisfy(f.not(), s, func(s state) error { return p.walkFrom(rules[i+1:], fs[i+1:], class, s, mode) })
	}
	return nil
}

// says is what c says of a class.
func says(c provenCondition, d *space, class *pathClass) formula {
	if c == nil {
		return constant(true)
	}
	return c.Says(d, class)
}

// maxRouters ends the search below a router that is within itself.
const maxRouters = 32

// mayBreak reports whether any request at all could break the claim at h.
func mayBreak(h *provenHandler, mode string, depth int) bool {
	switch {
	case h.ends || depth > maxRouters:
		return false
	case h.table != nil:
		return slices.ContainsFunc(h.table.rules, func(r provenRule) bool { return mayBreak(r.to, mode, depth+1) })
	case len(h.ways) > 0:
		return slices.ContainsFunc(h.ways, func(w way) bool { return mayBreak(w.to, mode, depth+1) })
	}
	return mode == "" || len(h.bases) > 0
}

// reach judges that requests of a class and state reach h by rule.
func (p *prover) reach(rule *provenRule, h *provenHandler, class *pathClass, s state, mode string) error {
	switch {
	case h.ends:
		return nil
	case h.table != nil:
		return p.walk(h.table, class, s, mode)
	case len(h.ways) > 0:
		for _, w := range h.ways {
			err := p.dims.satisfy(says(w.when, p.dims, class), s, func(s state) error { return p.reach(rule, w.to, class, s, mode) })
			if err != nil {
				return err
			}
		}
		return nil
	case mode == "":
		return p.found(rule, h, class, s, "")
	}
	for _, base := range h.bases {
		out := newPathClass(joinPath(base, class.raw))
		err := p.dims.satisfy(says(p.of, p.dims, out), s, func(s state) error {
			return p.found(rule, h, class, s, out.raw)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (p *prover) found(rule *provenRule, h *provenHandler, class *pathClass, s state, outgoing string) error {
	return &reached{request: p.dims.request(class, s), rule: rule.name, handler: h.handler, opaque: outgoing == "" && !h.backends,
		outgoing: outgoing, assuming: p.dims.assumed(s)}
}

// joinPath puts a backend's base path before a path, as pools do.
func joinPath(base, path string) string { return strings.TrimSuffix(base, "/") + path }
