package router

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/go-chi/chi/v5"
)

// params are the parameters that a Path pattern found in a path.
type params struct {
	pattern *pattern
	path    string
	found   *chi.Context // nil if chi has not been asked yet
}

// bind returns what the first pattern with parameters by which m matches v finds.
func (m *pathMatcher) bind(v *view) *params {
	for i := range m.patterns {
		p := &m.patterns[i]
		if p.literal || p.rest {
			switch {
			case !p.match(v.path):
				continue
			case p.literal:
				return nil
			}
			return &params{pattern: p, path: v.path}
		}
		if found := chi.NewRouteContext(); strings.HasPrefix(v.path, p.prefix) && p.mux.Match(found, http.MethodGet, v.path) {
			return &params{p, v.path, found}
		}
	}
	return nil
}

func (m *pathMatcher) parameters() []string {
	return common(m.patterns, func(p pattern) []string { return paramNames(p.text) })
}

// bind returns what the first part that has any finds.
func (m allMatcher) bind(v *view) *params {
	for _, part := range m {
		if found := part.bind(v); found != nil {
			return found
		}
	}
	return nil
}

func (m allMatcher) parameters() []string {
	for _, part := range m {
		if names := part.parameters(); len(names) > 0 {
			return names
		}
	}
	return nil
}

func (m anyMatcher) bind(v *view) *params {
	for _, part := range m {
		if part.match(v) {
			return part.bind(v)
		}
	}
	return nil
}

func (m anyMatcher) parameters() []string {
	return common(m, Matcher.parameters)
}

// common returns the names that all of list have.
func common[T any](list []T, names func(T) []string) (out []string) {
	for i, of := range list {
		if found := names(of); i == 0 {
			out = slices.Clone(found)
		} else {
			out = slices.DeleteFunc(out, func(name string) bool { return !slices.Contains(found, name) })
		}
	}
	return out
}

// paramNames returns the names in a pattern, in order. One with a lone * at its
// end has no others.
func paramNames(text string) (names []string) {
	for {
		i := strings.IndexAny(text, "{*")
		if i < 0 {
			return names
		}
		if text = text[i:]; text[0] == '*' {
			return append(names, "*")
		}
		end := closing(text)
		name, _, _ := strings.Cut(text[1:end], ":")
		names, text = append(names, name), text[end+1:]
	}
}

// attach returns r with the parameters in reach of chi.URLParam and, if they
// have names, of PathValue.
func (p *params) attach(r *http.Request) *http.Request {
	ctx := &paramContext{Context: r.Context(), params: p}
	out := r.WithContext(ctx)
	if !p.pattern.rest {
		rc := ctx.route()
		for i, key := range rc.URLParams.Keys {
			out.SetPathValue(key, rc.URLParams.Values[i])
		}
	}
	return out
}

// A paramContext makes chi's context when somebody asks for it: most handlers
// do not.
type paramContext struct {
	context.Context
	params *params
	once   sync.Once
	chi    *chi.Context // guarded by once
}

// Value implements [context.Context].
func (c *paramContext) Value(key any) any {
	if key == chi.RouteCtxKey {
		return c.route()
	}
	return c.Context.Value(key)
}

// route returns chi's context with the parameters, those of a chi router above
// included.
func (c *paramContext) route() *chi.Context {
	c.once.Do(func() {
		if c.chi = c.params.found; c.chi == nil {
			c.chi = chi.NewRouteContext()
			c.params.pattern.mux.Match(c.chi, http.MethodGet, c.params.path)
		}
		c.chi.RoutePath = ""
		if above, ok := c.Context.Value(chi.RouteCtxKey).(*chi.Context); ok {
			c.chi.RoutePath = above.RoutePath
			c.chi.URLParams.Keys = slices.Concat(above.URLParams.Keys, c.chi.URLParams.Keys)
			c.chi.URLParams.Values = slices.Concat(above.URLParams.Values, c.chi.URLParams.Values)
		}
	})
	return c.chi
}
