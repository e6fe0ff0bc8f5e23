package router

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/go-chi/chi/v5"

	"github.com/foretier/foretier/internal/target"
)

type pathMatcher struct {
	patterns []pattern
}

// A pattern is one chi pattern, with what can be told of it without asking
// chi.
type pattern struct {
	text    string
	prefix  string // what stands before the first { or *
	literal bool   // prefix is the whole pattern
	rest    bool   // behind prefix stands a lone *
	mux     *chi.Mux
	err     error
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

func compile(text string) (p pattern) {
	p.text, p.prefix = text, text
	if i := strings.IndexAny(text, "{*"); i >= 0 {
		p.prefix = text[:i]
		p.rest = text[i:] == "*"
	} else {
		p.literal = true
	}
	if canonical, ok := target.Resolve(p.prefix); !strings.HasPrefix(text, "/") || !ok || canonical != p.prefix && canonical != p.prefix+"/" {
		p.err = fmt.Errorf("Path(%q) never matches a canonical path", text)
		return p
	}
	defer func() {
		if v := recover(); v != nil { // chi's way of refusing a pattern
			p.err = fmt.Errorf("Path(%q): %v", text, v)
		}
	}()
	p.mux = chi.NewMux()
	p.mux.Method(http.MethodGet, text, http.NotFoundHandler())
	return p
}

func (p *pattern) match(path string) bool {
	switch {
	case p.literal:
		return path == p.text
	case !strings.HasPrefix(path, p.prefix):
		return false
	case p.rest:
		return true
	}
	return p.mux.Match(chi.NewRouteContext(), http.MethodGet, path)
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
