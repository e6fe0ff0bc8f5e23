package router

import (
	"context"
	"net/http"
	"slices"
	"sync"

	"github.com/go-chi/chi/v5"
)

// params are the parameters that a Path pattern found in a path.
type params struct {
	pattern *pattern
	path    string
	found   *chi.Context // nil if chi has not been asked yet
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
