package router

import (
	"context"
	"net/http"
	"slices"
	"sync"

	"github.com/go-chi/chi/v5"

	"github.com/foretier/foretier/internal/http1"
)

// params are the parameters that a Path pattern found in a path.
type params struct {
	pattern *pattern // nil: there are none
	path    string
	found   *chi.Context // nil if chi has not been asked yet
}

// attach makes out the request r with the parameters in reach of chi.URLParam and, if
// they have names, of PathValue. ctx is memory for its context.
func (p params) attach(out, r *http.Request, ctx *paramContext) {
	ctx.Context, ctx.params = r.Context(), p
	if p.pattern.rest {
		*out = *r.WithContext(ctx) // which stays on the stack
		return
	}
	*out = withOwnPathValues(r, ctx)
	rc := ctx.route()
	for i, key := range rc.URLParams.Keys {
		out.SetPathValue(key, rc.URLParams.Values[i])
	}
}

// withOwnPathValues returns r with another context and path values of its own: a shallow copy
// writes those of r. Only Clone copies them, and all else.
func withOwnPathValues(r *http.Request, ctx context.Context) http.Request {
	bare := *r
	bare.URL, bare.Header, bare.Trailer, bare.TransferEncoding = nil, nil, nil, nil
	bare.Form, bare.PostForm, bare.MultipartForm = nil, nil, nil
	out := *bare.Clone(ctx)
	out.URL, out.Header, out.Trailer, out.TransferEncoding = r.URL, r.Header, r.Trailer, r.TransferEncoding
	out.Form, out.PostForm, out.MultipartForm = r.Form, r.PostForm, r.MultipartForm
	return out
}

// A paramContext makes chi's context when somebody asks for it: most handlers
// do not. It ends as the one around which it stands, for who waits for that, too.
type paramContext struct {
	context.Context
	params params
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

// OnEnd implements [http1.Ending].
func (c *paramContext) OnEnd(f func()) bool {
	e, ok := c.Context.(http1.Ending)
	return ok && e.OnEnd(f)
}

// OffEnd implements [http1.Ending].
func (c *paramContext) OffEnd() bool { return c.Context.(http1.Ending).OffEnd() }

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
