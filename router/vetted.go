package router

import (
	"maps"
	"net/http"
	"slices"

	"github.com/foretier/foretier/internal/fields"
	"github.com/foretier/foretier/internal/transit"
)

// vetted returns r with a header of its own, without fields of these names and what
// [fields.Clean] removes, so that what is added to it is believed by a pool below. Its
// record says so until end is called: whoever stands above has r as it came.
func vetted(r *http.Request, names ...string) (_ *http.Request, rec *transit.Record, end func()) {
	ctx, rec := transit.With(r.Context())
	out := r.WithContext(ctx)
	out.Header = maps.Clone(r.Header)
	if out.Header == nil {
		out.Header = make(http.Header)
	}
	before := rec.Vetted
	if !before {
		fields.Clean(out.Header, false)
		rec.Vetted = true
	}
	for name := range out.Header {
		if slices.Contains(names, http.CanonicalHeaderKey(name)) {
			delete(out.Header, name)
		}
	}
	return out, rec, func() { rec.Vetted = before }
}
