package router

import (
	"net/http"
	"strings"

	"github.com/go-chi/chi/v5"

	"github.com/foretier/foretier/router/internal/proof"
)

type pathMatcher struct {
	patterns []pattern
}

// Path matches if the canonical path matches one of the patterns, in the
// syntax of chi: "/cart", "/media/*", "/product/{id}", "/archive/{year:[0-9]+}".
// Parameters can be read below the router with [chi.URLParam] and, by their
// name, with [http.Request.PathValue].
//
// The canonical path is decoded, so an encoded slash is a slash.
func Path(patterns ...string) Matcher {
	m := &pathMatcher{patterns: make([]pattern, len(patterns))}
	for i, p := range patterns {
		m.patterns[i] = compile(p)
	}
	return m
}

func (m *pathMatcher) match(v *view) bool {
	if v.rd.Refusal != "" {
		return false
	}
	for i := range m.patterns {
		if m.patterns[i].match(v.path) {
			return true
		}
	}
	return false
}

func (m *pathMatcher) Match(r *http.Request) bool { return matchRequest(m, r) }

func (m *pathMatcher) String() string {
	texts := make([]string, len(m.patterns))
	for i, p := range m.patterns {
		texts[i] = p.text
	}
	return list("Path", texts)
}

func (m *pathMatcher) check() error {
	for _, p := range m.patterns {
		if p.err != nil {
			return p.err
		}
	}
	return notEmpty("Path", len(m.patterns))
}

// bind returns what the first pattern with parameters by which m matches v finds.
func (m *pathMatcher) bind(v *view) params {
	for i := range m.patterns {
		p := &m.patterns[i]
		if p.literal || p.rest {
			switch {
			case !p.match(v.path):
				continue
			case p.literal:
				return params{}
			}
			return params{pattern: p, path: v.path}
		}
		if found := chi.NewRouteContext(); strings.HasPrefix(v.path, p.prefix) && p.mux.Match(found, http.MethodGet, v.path) {
			return params{p, v.path, found}
		}
	}
	return params{}
}

func (m *pathMatcher) parameters() []string {
	return common(m.patterns, func(p pattern) []string { return paramNames(p.text) })
}

func (m *pathMatcher) tell(d *proof.Space) {
	for i := range m.patterns {
		p := &m.patterns[i]
		d.AddPattern(p)
		if p.regular() {
			d.AddOpen(p.text, "", p.text+" does not match another path like it")
		}
	}
}

func (m *pathMatcher) says(d *proof.Space, class *proof.Class) proof.Formula {
	parts := make([]proof.Formula, 0, len(m.patterns))
	for i := range m.patterns {
		p := &m.patterns[i]
		switch {
		case class == nil:
			parts = append(parts, d.Maybe(p.text))
		case class.Readings.Refusal != "" || !p.match(class.Readings.Canonical):
		case p.regular():
			parts = append(parts, d.Maybe(p.text).Not())
		default:
			return proof.Constant(true)
		}
	}
	return proof.Any(parts)
}
