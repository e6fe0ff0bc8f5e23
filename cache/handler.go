package cache

import (
	"net/http"

	"github.com/foretier/foretier/health"
)

// handler is one handler behind the cache.
type handler struct {
	cache *Cache
	next  http.Handler
}

// ServeHTTP implements [http.Handler].
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) { h.next.ServeHTTP(w, r) }

// Explain implements [health.Explainer].
func (h *handler) Explain(r *http.Request) health.Decision {
	return health.Decision{Part: "cache", Verdict: "pass", Next: []health.Decision{health.Explain(h.next, r)}}
}

// Healthy reports whether what lies below could serve r now.
func (h *handler) Healthy(r *http.Request) bool { return health.Healthy(h.next, r) }

// Wraps returns what lies below.
func (h *handler) Wraps() []http.Handler { return []http.Handler{h.next} }
