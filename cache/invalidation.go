package cache

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/foretier/foretier/cache/internal/law"
	"github.com/foretier/foretier/cache/internal/memory"
	"github.com/foretier/foretier/internal/fields"
	"github.com/foretier/foretier/internal/target"
)

// An Invalidation names stored responses that are out of date. Of Tags with or
// without Host, URL, Host with or without PathPrefix, and All, it uses exactly one.
//
// What it names it matches in every spelling under which it may be stored (RFC
// 3986, section 6.2.2): /caf%C3%A9 is /caf%c3%a9 and /café, /~a is /%7Ea, /it's is
// /it%27s, in a query too. An escaped slash, or another reserved byte, is not the
// byte itself.
//
// It is soft unless Hard is set: what matches is stale from now on and is
// served for [Options.Grace] more while it is refreshed, and longer while the
// backend is sick. Hard removes it.
type Invalidation struct {
	// Tags matches a response that carries any of them. None may be empty. With
	// Host it matches those of that host only.
	Tags []string
	// URL is absolute: http://shop.example/a?b=c. It matches that URL under
	// http and https and all its variants.
	URL string
	// Host matches all of one host: on every port, or, with a port, on that
	// one; 80 and 443 are one. With PathPrefix it matches the path /a and all
	// below it: /a matches /a, /a/b and /a?b, not /ab; / matches everything.
	// PathPrefix without Host matches on every host. PathPrefix is written as
	// in a URL, but bytes that stand in none, such as a blank, may stand raw.
	Host, PathPrefix string
	// All matches everything.
	All bool
	// Hard removes what matches, and is not to be undone by the backend being
	// sick.
	Hard bool
}

// Invalidated says what [Cache.Invalidate] has done.
type Invalidated struct {
	// Position is where the last of the invalidations stands in the log, or a later
	// place: see [Cache.Synced].
	Position Position
	// Responses is how many stored responses were removed or, by a soft
	// invalidation, made stale: each variant counts, each once, and what an
	// earlier soft one had made stale does not count again. Zero means that
	// nothing that was named was stored and fresh to this cache; a fetch that
	// was running may be overtaken all the same.
	Responses int
}

// ErrInvalidation is wrapped by the error for an [Invalidation] that does not
// name exactly one thing.
var ErrInvalidation = errors.New("cache: an invalidation names exactly one of Tags, URL, Host or PathPrefix, and All; Tags may have a Host")

// Invalidate applies the invalidations, each of them whole, and returns how many
// stored responses they hit. Once it has returned, no request that arrives is
// answered with what they match, not even by a fetch that was running then,
// except as soft invalidations allow.
//
// With [Options.Feed] other gateways learn of it, which takes them a moment after
// Invalidate has returned; until then they go on as before. An error that wraps
// [ErrNotShared] means that within a second the feed did not take it, and that it
// is sent again and again: it has been applied here.
//
// An invalidation that names nothing, or more than one thing, or what no
// response can have, such as a Host with a scheme, is an error, and then none is
// applied. Safe for concurrent use.
func (c *Cache) Invalidate(ctx context.Context, list ...Invalidation) (Invalidated, error) {
	orders := make([]order, len(list))
	for i, inv := range list {
		m, err := c.matcher(inv)
		if err != nil {
			return Invalidated{}, err
		}
		orders[i] = order{m, inv.Tags}
	}
	if err := ctx.Err(); err != nil {
		return Invalidated{}, err
	}
	return c.purge(ctx, "", false, orders...)
}

// An order is an invalidation with the words of its tags, for whoever is told of it.
type order struct {
	matcher
	words []string
}

// purge applies invalidations by a client, if that has a name, here, and returns once the
// feed has them too. With waits somebody is about to wait until other gateways have
// applied them.
func (c *Cache) purge(ctx context.Context, by string, waits bool, list ...order) (Invalidated, error) {
	var done Invalidated
	var told []<-chan Position
	for _, o := range list {
		m := o.matcher
		mine := c.mine(m)
		one := c.applyHere(m)
		c.purges.note(time.Now(), by, o, one.Responses)
		done.Position = one.Position
		done.Responses += one.Responses
		if c.follower != nil {
			told = append(told, c.follower.share(m, mine, true, waits))
		}
	}
	if c.follower == nil {
		return done, nil
	}
	var err error
	done.Position, err = c.follower.shared(ctx, told)
	return done, err
}

// Synced returns once this gateway has applied everything up to a position that
// [Cache.Invalidate] has returned, here or at another gateway on the same
// [Options.Feed]; or with ctx's error. Zero has been applied always, and so has
// everything without a feed.
func (c *Cache) Synced(ctx context.Context, p Position) error {
	if c.follower == nil {
		return nil
	}
	return c.follower.synced(ctx, p)
}

// apply applies an invalidation here and has other gateways told, without waiting.
func (c *Cache) apply(m matcher) Invalidated {
	mine := c.mine(m)
	done := c.applyHere(m)
	if c.follower != nil {
		c.follower.share(m, mine, false, false)
	}
	return done
}

// mine notes, before it is applied, what is invalidated here and not elsewhere yet.
func (c *Cache) mine(m matcher) *own {
	if c.follower == nil {
		return nil
	}
	return c.follower.mine(m)
}

// applyHere appends to the log first: a fetch that is stored meanwhile is either
// found in the store or finds the entry in the log.
func (c *Cache) applyHere(m matcher) Invalidated {
	done := Invalidated{Position: c.log.append(m)}
	now := time.Now()
	hit := func(e *memory.Entry) bool {
		if len(m.tags) > 0 && m.host != "" && !m.matchHost(nameOf(e.URL)) {
			return false
		}
		if m.hard {
			return true
		}
		if e.Purge(now) {
			done.Responses++
		}
		return false
	}
	c.figures.invalidations.Add(1)
	removed := 0
	switch {
	case m.url != "":
		removed += c.store.ByURL(m.url, hit)
		removed += c.store.ByTag(nameTag(m.url), func(e *memory.Entry) bool { return nameOf(e.URL) == m.url && hit(e) })
		removed += c.store.ByTag(family(m.url), func(e *memory.Entry) bool { return answers(e, nameOf(e.URL), m.url) && hit(e) })
	case len(m.tags) > 0:
		for _, tag := range m.tags {
			removed += c.store.ByTag(tag, hit)
		}
	default:
		removed = c.store.Each(func(e *memory.Entry) bool { return m.match(e, nameOf(e.URL)) && hit(e) })
	}
	done.Responses += removed
	return done
}

// applyOther applies what another gateway tells.
func (c *Cache) applyOther(m matcher) {
	done := c.applyHere(m)
	if m.url == "" { // of which there is one for each order that somebody places
		c.purges.note(time.Now(), "another gateway", order{matcher: m}, done.Responses)
	}
}

func (c *Cache) matcher(inv Invalidation) (matcher, error) {
	m := matcher{all: inv.All, hard: inv.Hard, tags: hashTags(inv.Tags)}
	named := 0
	for _, is := range []bool{len(inv.Tags) > 0, inv.URL != "", inv.Host != "" && len(inv.Tags) == 0 || inv.PathPrefix != "", inv.All} {
		if is {
			named++
		}
	}
	if named != 1 {
		return m, fmt.Errorf("%w: %+v", ErrInvalidation, inv)
	}
	if slices.Contains(inv.Tags, "") {
		return m, fmt.Errorf("cache: invalidate Tags %q: one is empty", inv.Tags)
	}
	if inv.URL != "" {
		if err := m.setURL(c, inv.URL); err != nil {
			return m, err
		}
	}
	if inv.Host != "" {
		if err := m.setHost(inv.Host); err != nil {
			return m, err
		}
	}
	if inv.PathPrefix != "" {
		if err := m.setPrefix(inv.PathPrefix); err != nil {
			return m, err
		}
	}
	return m, nil
}

// setURL takes the URL that an invalidation names.
func (m *matcher) setURL(c *Cache, line string) error {
	u, err := url.Parse(line)
	if err != nil || u.Host == "" || u.Scheme != "" && u.Scheme != "http" && u.Scheme != "https" {
		return fmt.Errorf("cache: invalidate URL %q: not an absolute http URL", line)
	}
	if !isASCII(u.Host) {
		return fmt.Errorf("cache: invalidate URL %q: want its host as clients send it, in ASCII (xn--...)", line)
	}
	m.url = c.name(u, u.Host, u.Scheme == "https")
	return nil
}

// setPrefix takes the prefix of paths that an invalidation names.
func (m *matcher) setPrefix(prefix string) error {
	if prefix[0] != '/' {
		return fmt.Errorf("cache: invalidate PathPrefix %q: begins with no slash", prefix)
	}
	if strings.ContainsAny(prefix, "?#") {
		return fmt.Errorf("cache: invalidate PathPrefix %q: a path holds neither ? nor #, only %%3F and %%23", prefix)
	}
	m.prefix = strings.TrimSuffix(target.Normal(target.Escape(prefix)), "/")
	m.below = true
	return nil
}

// setHost takes the host that an invalidation names.
func (m *matcher) setHost(host string) error {
	if ip, err := netip.ParseAddr(host); err == nil && ip.Is6() {
		host = "[" + host + "]"
	}
	host = string(appendLower(nil, host))
	name, port := fields.SplitPort(host)
	if name == "" || strings.ContainsAny(host, "/?#@*%, ") || !strings.HasPrefix(name, "[") && strings.Contains(name, ":") {
		return fmt.Errorf("cache: invalidate Host %q: want a host, with or without a port, and nothing else", host)
	}
	if !isASCII(host) {
		return fmt.Errorf("cache: invalidate Host %q: want it as clients send it, in ASCII (xn--...)", host)
	}
	m.host, m.ports = normalHost(host), port == ""
	return nil
}

func isASCII(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return r >= utf8.RuneSelf }) < 0
}

// name returns the name of a URL's responses.
func (c *Cache) name(u *url.URL, host string, https bool) string {
	r := &http.Request{Method: http.MethodGet, URL: u, Host: host, Header: http.Header{}}
	if https {
		r.TLS = new(tls.ConnectionState)
	}
	var plan Plan
	if c.opts.Rules.Plan != nil {
		plan = c.opts.Rules.Plan(r)
	}
	return nameOf(string(appendURL(nil, r, plan.Query)))
}

// add stores e, for which the backend was asked at a position, unless an
// invalidation has overtaken it: a hard one, or a soft one after which another has
// brought the same.
func (c *Cache) add(asked Position, e *memory.Entry, reserved int64) bool {
	beaten, name := false, nameOf(e.URL)
	same := func(old *memory.Entry) bool {
		yes := sameKey(old, e)
		// What an invalidation of the URL has left alone was asked for after it.
		beaten = beaten || yes && old.Purged() == 0 && c.log.names(asked, e.URL)
		return yes
	}
	c.admit(e, name)
	if !c.store.Add(e, reserved, same, func() bool { return !beaten && c.stands(asked, e, name) }) {
		return false
	}
	c.learn(e)
	return true
}

// stands reports whether e, which has a name and for which the backend was asked at a
// position, may still be stored; what a soft invalidation has overtaken is stale by then.
func (c *Cache) stands(asked Position, e *memory.Entry, name string) bool {
	now, ok := time.Now(), true
	c.log.since(asked, func(m *matcher) bool {
		ok = m.spares(e, name, now)
		return ok
	})
	return ok
}

// sameKey reports whether both are found under one key.
func sameKey(a, b *memory.Entry) bool {
	if a.HTTPS != b.HTTPS || a.Parts() != b.Parts() {
		return false
	}
	aVary, aVariant := a.Vary()
	bVary, bVariant := b.Vary()
	return aVary == bVary && aVariant == bVariant && sameRange(a, b)
}

// sameRange reports whether both hold the whole, or what the same Range brought.
func sameRange(a, b *memory.Entry) bool {
	if a.Flags&memory.Part == 0 || b.Flags&memory.Part == 0 {
		return a.Flags&memory.Part == b.Flags&memory.Part
	}
	return a.More.Range == b.More.Range
}

// invalidate applies RFC 9111, section 4.4, after an unsafe method has
// succeeded: the URL itself, what Location and Content-Location name on the
// same origin, and the origin's groups that Cache-Group-Invalidation names (RFC
// 9875, section 3). It is soft after a method that nobody knows: stale within
// grace, with one fetch behind it.
func (s *site) invalidate(r *http.Request, header http.Header) {
	c := s.cache
	hard := law.Changes(r.Method)
	https := isHTTPS(r)
	c.apply(matcher{url: c.name(r.URL, r.Host, https), hard: hard})
	for _, name := range [...]string{"Location", "Content-Location"} {
		line := header.Get(name)
		if line == "" {
			continue
		}
		if u := refersTo(r, line); u != nil && sameOrigin(r, u) {
			c.apply(matcher{url: c.name(u, r.Host, https), hard: hard})
		}
	}
	var groups []string
	for _, name := range law.Groups(header["Cache-Group-Invalidation"]) {
		groups = append(groups, groupTag(r.Host, https, name))
	}
	if len(groups) > 0 {
		c.apply(matcher{tags: hashTags(groups), hard: hard})
	}
}
