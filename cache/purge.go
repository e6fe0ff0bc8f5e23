package cache

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"slices"

	"github.com/foretier/foretier/health"
	"github.com/foretier/foretier/internal/fields"
	"github.com/foretier/foretier/internal/given"
	"github.com/foretier/foretier/internal/transit"
)

// ErrPurgeOpen is returned where a purge handler would serve nobody, which is
// what a mistyped configuration looks like.
var ErrPurgeOpen = errors.New("cache: a purge handler needs the addresses that may purge")

// errPurgeRefused is the cause of the 403.
var errPurgeRefused = errors.New("cache: the client may not purge")

// PurgeHandler answers PURGE requests of the clients in allow: the URL asked
// for is removed at once, or made stale if the request has "Soft-Purge: 1";
// both schemes, all variants and, as with [Invalidation], all spellings. The
// answer says how many responses that were, as [Invalidated] does: 200 with
// "200 purged at 17, responses: 2", also where they are none. Others get 403,
// other methods 405. It is an error to allow nobody.
//
// A URL is named as it is forwarded: where a router in front forwards a path
// not as sent but in its canonical form, it is that form.
//
// It belongs into a rule of its own, ahead of the others:
//
//	router.Rule{Name: "purge", When: router.Method("PURGE"), To: purge}
func (c *Cache) PurgeHandler(allow []netip.Prefix) (http.Handler, error) {
	if len(allow) == 0 {
		return nil, ErrPurgeOpen
	}
	allow, err := given.Prefixes(allow)
	if err != nil {
		return nil, fmt.Errorf("cache: purge: %w", err)
	}
	return &purger{cache: c, allow: allow}, nil
}

type purger struct {
	cache *Cache
	allow []netip.Prefix
}

// ServeHTTP implements [http.Handler].
func (p *purger) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	client := transit.Client(r)
	if !slices.ContainsFunc(p.allow, func(net netip.Prefix) bool { return net.Contains(client) }) {
		transit.Fail(w, r, http.StatusForbidden, fmt.Errorf("%w: %v", errPurgeRefused, client))
		return
	}
	if r.Method != "PURGE" {
		w.Header().Set("Allow", "PURGE")
		transit.Fail(w, r, http.StatusMethodNotAllowed, nil)
		return
	}
	done := p.cache.apply(matcher{
		url:  p.cache.name(r.URL, r.Host, isHTTPS(r)),
		hard: r.Header.Get("Soft-Purge") != "1",
	})
	fields.CacheControl(w.Header(), "no-store")
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	fmt.Fprintf(w, "200 purged at %d, responses: %d\n", done.Position, done.Responses)
}

// Wraps returns nothing: a purge reaches no backend.
func (p *purger) Wraps() []http.Handler { return nil }

// Explain implements [health.Explainer].
func (p *purger) Explain(*http.Request) health.Decision {
	return health.Decision{Part: "cache " + p.cache.opts.Name, Verdict: "purge"}
}
