package health

import (
	"net/http"

	"github.com/foretier/foretier/internal/given"
)

// Wrap returns outer with what it hides made visible: outer is middleware around
// inner that was written for net/http alone, such as a compressor's or a tracer's.
//
//	h := health.Wrap(gziphandler.GzipHandler(apps), apps)
//
// Requests go to outer. Questions go to inner: [Explain], [Healthy], [Reporter],
// and whatever is asked along [Wrapper], proofs and cookies among it. What outer
// answers itself by a method of its own is believed.
//
// The caller promises that outer calls inner and no other handler, and hands on
// method, host and path as they are: what http.StripPrefix returns must not be
// wrapped so, since proofs would judge a path that inner never gets.
//
// Without an outer it returns nil, and a nil inner is shown: both are told where
// the handler is given to a constructor.
func Wrap(outer, inner http.Handler) http.Handler {
	if given.Nil(outer) {
		return nil
	}
	return &wrapped{outer, inner}
}

type wrapped struct{ outer, inner http.Handler }

// ServeHTTP implements [http.Handler].
func (w *wrapped) ServeHTTP(rw http.ResponseWriter, r *http.Request) { w.outer.ServeHTTP(rw, r) }

// Wraps implements [Wrapper].
func (w *wrapped) Wraps() []http.Handler {
	if o, ok := w.outer.(Wrapper); ok {
		return o.Wraps()
	}
	return []http.Handler{w.inner}
}

// Explain implements [Explainer]. What comes below one that cannot tell is told.
func (w *wrapped) Explain(r *http.Request) Decision {
	d := Explain(w.outer, r)
	if _, ok := w.outer.(Explainer); !ok {
		d.Next = []Decision{Explain(w.inner, r)}
	}
	return d
}

// Healthy implements [Checker].
func (w *wrapped) Healthy(r *http.Request) bool {
	if o, ok := w.outer.(Checker); ok {
		return o.Healthy(r)
	}
	return Healthy(w.inner, r)
}

// OwnsCookie implements [CookieOwner] for outer alone: inner is asked by itself.
func (w *wrapped) OwnsCookie(name string) bool {
	o, ok := w.outer.(CookieOwner)
	return ok && o.OwnsCookie(name)
}

// Looped implements [LoopDetector], as OwnsCookie does.
func (w *wrapped) Looped(r *http.Request) bool {
	o, ok := w.outer.(LoopDetector)
	return ok && o.Looped(r)
}

// Report implements [Reporter].
func (w *wrapped) Report() Report {
	for _, h := range [...]http.Handler{w.outer, w.inner} {
		if r, ok := h.(Reporter); ok && !given.Nil(h) {
			return r.Report()
		}
	}
	return Report{Kind: "handler", Name: typeName(w.outer), State: Up}
}
