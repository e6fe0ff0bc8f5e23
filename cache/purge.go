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
	errPurgeNaming  = errors.New("cache: nothing purged")
)

// PurgeMethods returns the methods that [Cache.PurgeHandler] answers: PURGE, and
// those that shops and frameworks use for tags, BAN and PURGEKEYS.
func PurgeMethods() []string { return slices.Clone(purgeMethods) }

var purgeMethods = []string{"PURGE", "BAN", "PURGEKEYS"}

// PurgeHandler answers PURGE requests of the clients in allow: the URL asked
// for is removed at once, or made stale if the request has "Soft-Purge: 1";
// both schemes, all variants and, as with [Invalidation], all spellings. The
// answer says how many responses that were, as [Invalidated] does: 200 with
// "200 purged at 17, responses: 2", also where they are none. Others get 403,
// other methods 405. It is an error to allow nobody.
//
// With a field of xkey, xkey-purge, xkey-softpurge, Surrogate-Key, Cache-Tag or
// Cache-Tags it is responses by their tags, separated by commas or blanks, and not
// the URL; so it is by BAN and PURGEKEYS, which name no URL. Fastly-Soft-Purge,
// X-Magento-Purge-Soft and xkey-softpurge are soft, too. What else a shop says in
// its own way is read by [Rules.Purge], such as those of package shop have.
// [Options.PurgeByHost] keeps the shops of several hosts apart.
//
// What names responses in a way that is not understood, such as a pattern, is
// answered 400 with words and removes nothing: it would seem to have purged what
// stays.
//
// With [Options.Feed] other gateways learn of it, within milliseconds as a rule. Who
// wants to know sends "Prefer: wait=10" (RFC 7240, section 4.3; up to 60 seconds): the
// answer then comes once all gateways that are there have applied it, or it is 202
// and names those that have not. It is 202 too if the feed does not take it within a
// second; it is sent again then.
//
// A URL is named as it is forwarded: where a router in front forwards a path
// not as sent but in its canonical form, it is that form.
//
// It belongs into a rule of its own, ahead of the others:
//
//	router.Rule{Name: "purge", When: router.Method(cache.PurgeMethods()...), To: purge}
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
	if !slices.Contains(purgeMethods, r.Method) {
		w.Header().Set("Allow", strings.Join(purgeMethods, ", "))
		transit.Fail(w, r, http.StatusMethodNotAllowed, nil)
		return
	}
	named, err := p.cache.readPurge(r)
	if err != nil {
		decline(w, rec, err)
		return
	}
	p.cache.answerPurge(w, r, named...)
}

// Wraps returns nothing: a purge reaches no backend.
func (p *purger) Wraps() []http.Handler { return nil }

// readPurge returns what a request wants to have invalidated.
func (c *Cache) readPurge(r *http.Request) ([]order, error) {
	list, err := c.opts.Rules.readPurge(r)
	if err != nil {
		return nil, err
	}
	hard := !softly(r.Header)
	if len(list) == 0 {
		if r.Method != "PURGE" {
			return nil, fmt.Errorf("%s names no tags: want them in %s", r.Method, tagFields[0])
		}
		return []order{{matcher: matcher{url: c.name(r.URL, r.Host, isHTTPS(r)), hard: hard}}}, nil
	}
	out := make([]order, len(list))
	for i, inv := range list {
		inv.Hard = hard
		if c.opts.PurgeByHost && inv.URL == "" && inv.Host == "" {
			inv.All, inv.Host = false, fields.Hostname(r.Host)
		}
		m, err := c.matcher(inv)
		if err != nil {
			return nil, err
		}
		out[i] = order{m, inv.Tags}
	}
	return out, nil
}

// readPurge returns what a request names besides its URL, or nil.
func (rules *Rules) readPurge(r *http.Request) ([]Invalidation, error) {
	if rules.Purge != nil {
		if list, err := rules.Purge(r); len(list) > 0 || err != nil {
			return list, err
		}
	}
	tags, err := purgedTags(r.Header)
	if tags == nil || err != nil {
		return nil, err
	}
	return []Invalidation{{Tags: tags}}, nil
}

// tagFields are the fields in which a purge names tags.
var tagFields = [...]string{"xkey", "xkey-purge", softKeys, "surrogate-key", "surrogate-keys", "cache-tag", "cache-tags"}

// noTag are bytes of which patterns are made, and no tags.
const noTag = `()[]{}|*^$\`

// softKeys is the one that asks for a soft purge, too.
const softKeys = "xkey-softpurge"

// purgedTags returns the tags that a purge names, nil if it names none, or an error
// if it names responses in a way that is not understood.
func purgedTags(h http.Header) (tags []string, err error) {
	for name, lines := range h {
		lower := strings.ToLower(name)
		if !slices.Contains(tagFields[:], lower) {
			if otherNaming(lower, lines) {
				return nil, fmt.Errorf("%s is not understood here", name)
			}
			continue
		}
		n := len(tags)
		for _, line := range lines {
			if strings.ContainsAny(line, noTag) {
				return nil, fmt.Errorf("%s holds a pattern: want tags, separated by commas or blanks", name)
			}
			tags = append(tags, strings.FieldsFunc(line, func(c rune) bool { return c == ',' || c == ' ' || c == '\t' })...)
		}
		if len(tags) == n {
			return nil, fmt.Errorf("%s names no tag", name)
		}
	}
	return tags, nil
}

// softly reports whether a purge asks that what it names be made stale and not
// removed.
func softly(h http.Header) bool {
	for name, lines := range h {
		switch strings.ToLower(name) {
		case softKeys:
			return true
		case "soft-purge", "fastly-soft-purge", "x-magento-purge-soft":
			if len(lines) == 1 && lines[0] == "1" {
				return true
			}
		}
	}
	return false
}

// otherNaming reports whether a field, in lower case, names what is to be purged by
// something else than its URL or tags.
func otherNaming(lower string, lines []string) bool {
	switch lower {
	case "cache-groups", "cache-group-invalidation":
		return true
	case "x-purge-method": // of WordPress' plugins, which say "default" for the URL alone
		return slices.ContainsFunc(lines, func(v string) bool { return strings.EqualFold(v, "regex") })
	}
	for word := range strings.FieldsFuncSeq(lower, func(c rune) bool { return c == '-' || c == '_' }) {
		if slices.Contains(namingWords, word) {
			return true
		}
	}
	return false
}

// namingWords are the words by which other names are known: X-Magento-Tags-Pattern,
// X-Cache-Tags, X-Purge-Regex, X-Ban-Url and kin.
var namingWords = []string{"tag", "tags", "pattern", "xkey", "xkeys", "regex", "regexp", "ban"}

// decline answers a purge that is not understood.
func decline(w http.ResponseWriter, rec *transit.Record, err error) {
	rec.Answered(http.StatusBadRequest)
	rec.Fail(fmt.Errorf("%w: %w", errPurgeNaming, err))
	h := w.Header()
	fields.CacheControl(h, "no-store")
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(http.StatusBadRequest)
	fmt.Fprintf(w, "400 nothing purged: %v\n", err)
}

// Explain implements [health.Explainer].
func (p *purger) Explain(*http.Request) health.Decision {
	return health.Decision{Part: "cache " + p.cache.opts.Name, Verdict: "purge"}
}
