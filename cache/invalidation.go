package cache

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"hash/maphash"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/foretier/foretier/cache/internal/law"
	"github.com/foretier/foretier/cache/internal/memory"
)

// An Invalidation names stored responses that are out of date. Of Tags, URL,
// Host with or without PathPrefix, and All, it uses exactly one.
//
// It is soft unless Hard is set: what matches is stale from now on and is
// served for [Options.Grace] more while it is refreshed, and longer while the
// backend is sick. Hard removes it.
type Invalidation struct {
	// Tags matches a response that carries any of them.
	Tags []string
	// URL is absolute: http://shop.example/a?b=c. It matches that URL under
	// http and https and all its variants.
	URL string
	// Host matches all of one host, or, with PathPrefix, the path /a and all
	// below it: /a matches /a and /a/b, not /ab. PathPrefix without Host
	// matches on every host.
	Host, PathPrefix string
	// All matches everything.
	All bool
	// Hard removes what matches, and is not to be undone by the backend being
	// sick.
	Hard bool
}

// A Position is a place in the log of invalidations. Positions grow; zero is
// before all of them.
type Position uint64

// ErrInvalidation is wrapped by the error for an [Invalidation] that does not
// name exactly one thing.
var ErrInvalidation = errors.New("cache: an invalidation names exactly one of Tags, URL, Host or PathPrefix, and All")

// Invalidate applies the invalidations, each of them whole, and returns the
// position of the last one. Once it has returned, no request that arrives is
// answered with what they match, not even by a fetch that was running then,
// except as soft invalidations allow.
//
// An invalidation that names nothing, or more than one thing, is an error, and
// then none is applied. Safe for concurrent use.
func (c *Cache) Invalidate(ctx context.Context, list ...Invalidation) (Position, error) {
	matchers := make([]matcher, len(list))
	for i, inv := range list {
		m, err := c.matcher(inv)
		if err != nil {
			return 0, err
		}
		matchers[i] = m
	}
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	var at Position
	for _, m := range matchers {
		at = c.apply(m)
	}
	return at, nil
}

// apply appends to the log first: a fetch that is stored meanwhile is either
// found in the store or finds the entry in the log.
func (c *Cache) apply(m matcher) Position {
	at := c.log.append(m)
	now := time.Now()
	hit := func(e *memory.Entry) bool {
		if m.hard {
			return true
		}
		e.Purge(now)
		return false
	}
	c.figures.invalidations.Add(1)
	switch {
	case m.url != "":
		c.store.ByURL(m.url, hit)
	case len(m.tags) > 0:
		for _, tag := range m.tags {
			c.store.ByTag(tag, hit)
		}
	default:
		c.store.Each(func(e *memory.Entry) bool { return m.match(e) && hit(e) })
	}
	return at
}

// A matcher is an invalidation made ready.
type matcher struct {
	tags         []uint64
	url          string
	host, prefix string
	all, hard    bool
}

func (c *Cache) matcher(inv Invalidation) (matcher, error) {
	m := matcher{all: inv.All, hard: inv.Hard, tags: hashTags(inv.Tags)}
	named := 0
	for _, is := range []bool{len(inv.Tags) > 0, inv.URL != "", inv.Host != "" || inv.PathPrefix != "", inv.All} {
		if is {
			named++
		}
	}
	if named != 1 {
		return m, fmt.Errorf("%w: %+v", ErrInvalidation, inv)
	}
	if inv.URL != "" {
		u, err := url.Parse(inv.URL)
		if err != nil || u.Host == "" {
			return m, fmt.Errorf("cache: invalidate %q: not an absolute URL", inv.URL)
		}
		m.url = c.urlKey(u, u.Host, u.Scheme == "https")
	}
	m.host = string(appendLower(nil, inv.Host))
	if inv.PathPrefix != "" {
		if inv.PathPrefix[0] != '/' {
			return m, fmt.Errorf("cache: invalidate PathPrefix %q: begins with no slash", inv.PathPrefix)
		}
		m.prefix = strings.TrimSuffix((&url.URL{Path: inv.PathPrefix}).EscapedPath(), "/")
	}
	return m, nil
}

// urlKey returns under which key the responses of a URL are stored.
func (c *Cache) urlKey(u *url.URL, host string, https bool) string {
	if u.Path == "" {
		u = u.JoinPath("/")
	}
	r := &http.Request{Method: http.MethodGet, URL: u, Host: host, Header: http.Header{}}
	if https {
		r.TLS = new(tls.ConnectionState)
	}
	var plan Plan
	if c.opts.Rules.Plan != nil {
		plan = c.opts.Rules.Plan(r)
	}
	return string(appendURL(nil, r, plan.Query))
}

// match reports whether the invalidation means e.
func (m *matcher) match(e *memory.Entry) bool {
	for _, tag := range m.tags {
		if e.HasTag(tag) {
			return true
		}
	}
	return m.all || m.matchURL(e.URL)
}

func (m *matcher) matchURL(u string) bool {
	if m.url != "" {
		return m.url == u
	}
	if m.host == "" && m.prefix == "" {
		return false
	}
	slash := strings.IndexByte(u, '/')
	if slash < 0 {
		slash = len(u)
	}
	if m.host != "" && m.host != u[:slash] {
		return false
	}
	rest, ok := strings.CutPrefix(u[slash:], m.prefix)
	return ok && (rest == "" || rest[0] == '/' || rest[0] == '?')
}

// tagSeed makes hashes of tags; they are compared within one process only.
var tagSeed = maphash.MakeSeed()

func hashTags(tags []string) []uint64 {
	if len(tags) == 0 {
		return nil
	}
	out := make([]uint64, 0, len(tags))
	seen := make(map[uint64]bool, len(tags))
	for _, t := range tags {
		if h := maphash.String(tagSeed, t); t != "" && !seen[h] {
			seen[h] = true
			out = append(out, h)
		}
	}
	return out
}

// maxLog is how many invalidations are remembered for fetches that run.
const maxLog = 16 << 10

// A log holds the latest invalidations in order.
type log struct {
	mu      sync.RWMutex
	last    Position  // guarded by mu
	records []matcher // guarded by mu; the last one's position is last
}

func (l *log) append(m matcher) Position {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.records) == maxLog {
		l.records = append(l.records[:0:0], l.records[maxLog/2:]...)
	}
	l.records = append(l.records, m)
	l.last++
	return l.last
}

func (l *log) head() Position {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.last
}

// since calls f for each invalidation after at until f returns false. What the
// log has forgotten counts as one of everything.
func (l *log) since(at Position, f func(*matcher) bool) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	n := int(l.last - at)
	if n > len(l.records) {
		f(&matcher{all: true, hard: true})
		return
	}
	for i := len(l.records) - n; i < len(l.records); i++ {
		if !f(&l.records[i]) {
			return
		}
	}
}

// overtaken reports whether an invalidation after at means e.
func (l *log) overtaken(at Position, e *memory.Entry) (yes bool) {
	l.since(at, func(m *matcher) bool {
		yes = m.match(e)
		return !yes
	})
	return yes
}

// overtakes reports whether an invalidation means what f will bring, as far as
// can be known by now.
func (l *log) overtakes(f *fetch) (yes bool) {
	select {
	case <-f.ready:
		return f.entry != nil && l.overtaken(f.position, f.entry)
	default:
	}
	l.since(f.position, func(m *matcher) bool {
		yes = m.all || m.matchURL(f.ask.url)
		return !yes
	})
	return yes
}

// add stores e, for which the backend was asked at a position, unless an
// invalidation has overtaken it.
func (c *Cache) add(asked Position, e *memory.Entry, reserved int64) bool {
	now := time.Now()
	same := func(old *memory.Entry) bool {
		if old.HTTPS != e.HTTPS || old.Parts() != e.Parts() {
			return false
		}
		oldVary, oldVariant := old.Vary()
		vary, variant := e.Vary()
		return oldVary == vary && oldVariant == variant && sameRange(old, e)
	}
	valid := func() bool {
		ok := true
		c.log.since(asked, func(m *matcher) bool {
			if m.match(e) {
				e.Purge(now)
				ok = !m.hard
			}
			return ok
		})
		return ok
	}
	return c.store.Add(e, reserved, same, valid)
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
func (h *handler) invalidate(r *http.Request, header http.Header) {
	c := h.cache
	hard := law.Changes(r.Method)
	https := isHTTPS(r)
	c.apply(matcher{url: c.urlKey(r.URL, r.Host, https), hard: hard})
	for _, name := range [...]string{"Location", "Content-Location"} {
		line := header.Get(name)
		if line == "" {
			continue
		}
		u, err := r.URL.Parse(line)
		if err != nil || !sameOrigin(r, u) {
			continue
		}
		c.apply(matcher{url: c.urlKey(u, r.Host, https), hard: hard})
	}
	var groups []string
	for _, name := range law.Groups(header["Cache-Group-Invalidation"]) {
		groups = append(groups, groupTag(r.Host, https, name))
	}
	if len(groups) > 0 {
		c.apply(matcher{tags: hashTags(groups), hard: hard})
	}
}
