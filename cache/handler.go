package cache

import (
	"net/http"

	"github.com/foretier/foretier/health"
)

// maxRefreshing is how many refreshes run at once behind one handler.
const maxRefreshing = 16

// handler is one handler behind the cache.
type handler struct {
	site
	flights    flights
	refreshing chan struct{} // a place for each refresh that runs
}

// Handler returns next behind the cache. The handlers of one cache share what
// is stored: two that may answer the same URL differently need
// [Plan.Key], or two caches.
//
// The returned handler also has the methods Explain, Healthy and Wraps, by
// which a layer above asks what lies below.
func (c *Cache) Handler(next http.Handler) http.Handler {
	return newHandler(c, next)
}

func newHandler(c *Cache, next http.Handler) *handler {
	h := &handler{site: site{cache: c, next: next}, refreshing: make(chan struct{}, maxRefreshing)}
	h.flights.log = &c.log
	c.sites.Add(1)
	h.findOwners(next)
	return h
}

// Tells implements [transit.Teller].
func (h *handler) Tells() {}

// Healthy reports whether what lies below could serve r now.
func (h *handler) Healthy(r *http.Request) bool { return health.Healthy(h.next, r) }

// Wraps returns what lies below.
func (h *handler) Wraps() []http.Handler { return []http.Handler{h.next} }
