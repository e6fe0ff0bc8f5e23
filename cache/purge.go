package cache

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"github.com/foretier/foretier/health"
	"github.com/foretier/foretier/internal/fields"
	"github.com/foretier/foretier/internal/given"
	"github.com/foretier/foretier/internal/transit"
)

// ErrPurgeOpen is returned where a purge handler would serve nobody, which is
// what a mistyped configuration looks like.
var ErrPurgeOpen = errors.New("cache: a purge handler needs the addresses that may purge")

// errPurgeRefused is the cause of the 403, errPurgeNaming of the 400.
var (
	errPurgeRefused = errors.New("cache: the client may not purge")
	errPurgeNaming  = errors.New("cache: a PURGE that names responses by a field")
)

// PurgeHandler answers PURGE requests of the clients in allow: the URL asked
// for is removed at once, or made stale if the request has "Soft-Purge: 1";
// both schemes, all variants and, as with [Invalidation], all spellings. The
// answer says how many responses that were, as [Invalidated] does: 200 with
// "200 purged at 17, responses: 2", also where they are none. Others get 403,
// other methods 405. It is an error to allow nobody.
//
// With [Options.Feed] other gateways learn of it, within milliseconds as a rule. Who
// wants to know sends "Prefer: wait=10" (RFC 7240, section 4.3; up to 60 seconds): the
// answer then comes once all gateways that are there have applied it, or it is 202
// and names those that have not. It is 202 too if the feed does not take it within a
// second; it is sent again then.
//
// A PURGE that names responses by something else than its URL, by tags or a
// pattern as shops do for Varnish, Fastly or Cloudflare (X-Magento-Tags-Pattern,
// xkey, Surrogate-Key, Cache-Tag), is answered 400 with words and removes nothing:
// it would seem to have purged what stays. Until it is understood, a program calls
// [Cache.Invalidate] with Tags.
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
	r, rec, made := transit.Enter(r)
	if made {
		defer transit.Log(p.cache.opts.Logger, p.cache.opts.Name, r, rec)
	}
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
	if name := otherNaming(r.Header); name != "" {
		decline(w, rec, name)
		return
	}
	p.cache.answerPurge(w, r, matcher{
		url:  p.cache.name(r.URL, r.Host, isHTTPS(r)),
		hard: r.Header.Get("Soft-Purge") != "1",
	})
}

// Wraps returns nothing: a purge reaches no backend.
func (p *purger) Wraps() []http.Handler { return nil }

// otherNaming returns the field by which a PURGE names something else than its
// URL, or "".
func otherNaming(h http.Header) string {
	for name, values := range h {
		lower := strings.ToLower(name)
		switch lower {
		case "surrogate-key", "surrogate-keys", "cache-groups", "cache-group-invalidation":
			return name
		case "x-purge-method": // of WordPress' plugins, which say "default" for the URL alone
			if slices.ContainsFunc(values, func(v string) bool { return strings.EqualFold(v, "regex") }) {
				return name
			}
		}
		for word := range strings.FieldsFuncSeq(lower, func(c rune) bool { return c == '-' || c == '_' }) {
			if slices.Contains(namingWords, word) {
				return name
			}
		}
	}
	return ""
}

// namingWords are the words by which other names are known: X-Magento-Tags-Pattern,
// Cache-Tag, X-Cache-Tags, xkey, xkey-purge, X-Purge-Regex, X-Ban-Url and kin.
var namingWords = []string{"tag", "tags", "pattern", "xkey", "xkeys", "regex", "regexp", "ban"}

// decline answers a PURGE that names something else than its URL.
func decline(w http.ResponseWriter, rec *transit.Record, name string) {
	rec.Answered(http.StatusBadRequest)
	rec.Fail(fmt.Errorf("%w: %s", errPurgeNaming, name))
	h := w.Header()
	fields.CacheControl(h, "no-store")
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(http.StatusBadRequest)
	fmt.Fprintf(w, "400 nothing purged: %s is not understood here, a PURGE names the one URL that it asks for\n", name)
}

// Explain implements [health.Explainer].
func (p *purger) Explain(*http.Request) health.Decision {
	return health.Decision{Part: "cache " + p.cache.opts.Name, Verdict: "purge"}
}
