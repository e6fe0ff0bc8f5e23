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

// maxSteps bounds a proof to a few seconds. Ordinary tables of 200 rules need
// some thousand steps.
const maxSteps = 300_000

var errTooHard = errors.New("router: too many classes of requests to prove a claim")

// A prover holds what does not change during a proof.
type prover struct {
	claim Claim
	dims  *space
	steps int
}

func (t table) prove(c Claim) error {
	if err := c.check(); err != nil {
		return fmt.Errorf("router: claim: %w", err)
	}
	matchers := t.matchers(nil, 0)
	if c.Of != nil {
		matchers = append(matchers, c.Of)
	}
	p := &prover{claim: c, dims: newSpace(matchers)}
	bases := t.basePaths()
	var opaque error
	for _, class := range p.dims.pathClasses(bases) {
		// As it comes: whatever the claim is about must not reach others.
		err := p.dims.satisfy(says(c.Of, p.dims, class), nil, func(s state) error {
			return p.walk(t, class, s, "")
		})
		if err == nil && c.Of != nil && len(bases) > 0 {
			// As it goes out: nor what a base path turns into it.
			err = p.walk(t, class, nil, "outgoing")
		}
		var found *Counterexample
		switch {
		case errors.As(err, &found), errors.Is(err, errTooHard):
			return err
		case err != nil && opaque == nil:
			opaque = err // a counterexample elsewhere tells more
		}
	}
	return opaque
}

// matchers returns those of all rules, of routers below too.
func (t table) matchers(out []Matcher, depth int) []Matcher {
	for _, c := range t {
		if c.When != nil {
			out = append(out, c.When)
		}
		if len(c.Allow) > 0 {
			out = append(out, c.allowed())
		}
		for h := range below(c.To) {
			if inner, ok := h.(*Router); ok && depth < maxDepth {
				out = inner.rules.Load().matchers(out, depth+1)
			}
		}
	}
	return out
}

// basePaths returns what the pools below put before paths.
func (t table) basePaths() (out []string) {
	for _, c := range t {
		for h := range below(c.To) {
			out = append(out, basesOf(h)...)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// walk follows all requests of a class and state down the rules. With mode
// "outgoing" it looks only at what base paths make of them.
func (p *prover) walk(t table, class *pathClass, s state, mode string) error {
	var fs []formula
	last := -1 // the last rule that could break the claim
	for i, rule := range t {
		fs = append(fs, says(rule.When, p.dims, class))
		if !fs[i].isFalse() && p.mayBreak(rule.To, mode, 0) {
			last = i
		}
		if fs[i].isTrue() {
			break // no request of this class goes further
		}
	}
	return p.walkFrom(t[:last+1], fs, 0, class, s, mode)
}

func (p *prover) walkFrom(t table, fs []formula, i int, class *pathClass, s state, mode string) error {
	for ; i < len(t); i++ {
		f := fs[i]
		if f.isFalse() {
			continue
		}
		if p.steps++; p.steps > maxSteps {
			return errTooHard
		}
		rule := t[i]
		// Whom Allow does not list gets the tier's own 403.
		err := p.dims.satisfy(f, s, func(s state) error {
			return p.dims.satisfy(p.allowed(rule, class), s, func(s state) error { return p.reach(rule, rule.To, class, s, mode, 0) })
		})
		if err != nil || f.isTrue() {
			return err
		}
		// Only what the rule leaves goes on.
		next := i + 1
		return p.dims.satisfy(f.not(), s, func(s state) error { return p.walkFrom(t, fs, next, class, s, mode) })
	}
	return nil
}

// says is what m, or everything if it is nil, says of a class.
func says(m Matcher, d *space, class *pathClass) formula {
	if m == nil {
		return constant(true)
	}
	return m.says(d, class)
}

// allowed says which requests rule hands on.
func (p *prover) allowed(rule *compiled, class *pathClass) formula {
	if len(rule.Allow) == 0 {
		return constant(true)
	}
	return rule.allowed().says(p.dims, class)
}

// mayBreak reports whether any request at all could break the claim at h.
func (p *prover) mayBreak(h http.Handler, mode string, depth int) bool {
	if p.claim.allows(h) || answersItself(h) || depth > maxDepth {
		return false
	}
	inner, ok := h.(interface{ Wraps() []http.Handler })
	if !ok {
		return mode == "" || len(basesOf(h)) > 0
	}
	return slices.ContainsFunc(inner.Wraps(), func(h http.Handler) bool { return p.mayBreak(h, mode, depth+1) })
}

// basesOf returns what the pool h, if it is one, puts before paths.
func basesOf(h http.Handler) []string {
	if pool, ok := h.(interface{ BasePaths() []string }); ok {
		return pool.BasePaths()
	}
	return nil
}

// reach judges that requests of a class and state reach h by rule.
func (p *prover) reach(rule *compiled, h http.Handler, class *pathClass, s state, mode string, depth int) error {
	if p.claim.allows(h) || answersItself(h) || depth > maxDepth {
		return nil
	}
	switch f := h.(type) {
	case *Router:
		return p.walk(*f.rules.Load(), class, s, mode)
	case *fallback:
		if err := p.reach(rule, f.first, class, s, mode, depth+1); err != nil {
			return err
		}
		return p.dims.satisfy(Method(http.MethodGet).says(p.dims, class), s, func(s state) error {
			return p.reach(rule, f.then, class, s, mode, depth+1)
		})
	}
	if wrapper, ok := h.(interface{ Wraps() []http.Handler }); ok {
		for _, inner := range wrapper.Wraps() {
			if err := p.reach(rule, inner, class, s, mode, depth+1); err != nil {
				return err
			}
		}
		return nil
	}
	if mode == "" {
		if !isLeaf(h) {
			return fmt.Errorf("%w: %s of rule %q, which %s %s reaches: want it in Only, or a type with a method Wraps() []http.Handler that returns what it calls",
				ErrOpaque, handlerName(h), rule.Name, p.dims.request(class, s).Method, class.raw)
		}
		return p.counterexample(rule, h, class, s, "")
	}
	for _, base := range basesOf(h) {
		out := newPathClass(joinPath(base, class.raw))
		err := p.dims.satisfy(says(p.claim.Of, p.dims, out), s, func(s state) error {
			return p.counterexample(rule, h, class, s, out.raw)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (p *prover) counterexample(rule *compiled, h http.Handler, class *pathClass, s state, outgoing string) error {
	return &Counterexample{Request: p.dims.request(class, s), Rule: rule.Name, Handler: h, Outgoing: outgoing, Assuming: p.dims.assumed(s)}
}

// isLeaf reports whether h is a transport's handler, behind which are backends
// and no further handlers.
func isLeaf(h http.Handler) bool {
	_, ok := h.(http.RoundTripper)
	return ok
}

// joinPath puts a backend's base path before a path, as pools do.
func joinPath(base, path string) string { return strings.TrimSuffix(base, "/") + path }
