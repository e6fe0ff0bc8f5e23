package cache

import (
	"context"
	"hash/maphash"
	"net/http"
	"net/netip"
	"slices"
	"time"

	"github.com/foretier/foretier/cache/internal/law"
	"github.com/foretier/foretier/cache/internal/memory"
	"github.com/foretier/foretier/internal/fields"
	"github.com/foretier/foretier/internal/transit"
)

// An ask is a request as the cache sees it: what it is looked up by and what it
// demands.
type ask struct {
	site     *site
	r        *http.Request
	now      time.Time
	plan     Plan
	url      string // host, path and query; set by detached
	https    bool
	parts    string
	cc       law.Directives // empty unless obeyed
	obeyed   bool           // the client is one of Options.Orders
	noStore  bool           // it wants nothing stored of its answer; set by detached
	cookie   bool           // has cookies that may bear on the response
	auth     bool
	partial  bool          // to be fetched as the part that it asks for
	selector *law.Selector // see selecting
	strange  []string      // its fields that may fill nothing; set by detached
	reason   string        // why it is forwarded, in the words of RFC 9211

	as choice // how it was answered from what is stored

	found [2]*memory.Entry // stored responses, held for as long as they may be of use
}

// bypass says why a request goes straight through, or "".
func bypass(r *http.Request) string {
	switch {
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		return "method"
	case r.Header["Upgrade"] != nil:
		return "upgrade"
	case r.ContentLength != 0 || len(r.TransferEncoding) > 0:
		return "body"
	case r.Header["If-Match"] != nil || r.Header["If-Unmodified-Since"] != nil:
		return "precondition"
	}
	return ""
}

// read returns r as the cache sees it, and its URL, appended to buf. The two
// are apart so that buf may be on the stack: a hit has better uses for its
// allocations.
func (s *site) read(r *http.Request, buf []byte) (ask, []byte) {
	a := ask{site: s, r: r, now: time.Now()}
	opts := &s.cache.opts
	if opts.Rules.Plan != nil {
		a.plan = opts.Rules.Plan(r)
	}
	url := appendURL(buf, r, a.plan.Query)
	a.https = isHTTPS(r)
	a.parts = joinParts(a.plan.Key)
	if a.plan.Cookies != nil {
		a.parts += "\x01\x02" + joinParts(cookiePairs(r, a.plan.Cookies)) // no part of the key ends so
	}
	if rec, ok := transit.Lookup(r.Context()); ok && rec.Space != "" {
		a.parts += "\x01\x03" + rec.Space // nor so
	}
	if len(opts.Orders) > 0 {
		a.orders(opts.Orders)
	}
	if r.Header["Cookie"] != nil && a.plan.Cookies == nil {
		a.cookie = hasCookie(r.Header, s.ignored)
	}
	a.auth = r.Header["Authorization"] != nil
	return a, url
}

// orders reads how fresh the request wants its answer, if its client is one of
// those who may say so.
func (a *ask) orders(allow []netip.Prefix) {
	client := transit.Client(a.r)
	if !slices.ContainsFunc(allow, func(net netip.Prefix) bool { return net.Contains(client) }) {
		return
	}
	a.obeyed = true
	if lines := a.r.Header["Cache-Control"]; len(lines) > 0 {
		a.cc = law.ParseDirectives(lines)
	} else if lines := a.r.Header["Pragma"]; len(lines) > 0 && fields.HasToken(lines, "no-cache") {
		a.cc = law.Directives{{Name: "no-cache"}} // RFC 9111, section 5.4
	}
}

// fits reports whether a stored response matches the request (RFC 9111,
// section 4, the first three conditions).
func (a *ask) fits(e *memory.Entry) bool {
	if e.HTTPS != a.https || a.auth && e.Flags&memory.Public == 0 {
		return false
	}
	m := e.More
	if m == nil {
		return a.parts == "" && a.covers(e)
	}
	if m.Parts != a.parts || e.Flags&memory.Part != 0 && !fitsPart(a.r, e) {
		return false
	}
	return a.sameVariant(e) && a.covers(e)
}

// sameVariant reports whether the request selects e (RFC 9111, section 4.1).
func (a *ask) sameVariant(e *memory.Entry) bool {
	m := e.More
	return m.Vary == "" || a.selecting().Selects(m.Vary, m.Variant, func() string { return e.Field("Content-Language") })
}

// selecting returns what tells variants apart: the client's header, without the
// cookies that do not count or are in the key. It is read at most once a
// request, and only if there is something that varies.
func (a *ask) selecting() *law.Selector {
	if a.selector != nil {
		return a.selector
	}
	h := a.r.Header
	if h["Cookie"] != nil && (a.plan.Cookies != nil || a.site.ignoresAny()) {
		h = h.Clone()
		if a.plan.Cookies != nil {
			delete(h, "Cookie")
		} else {
			fields.DropCookies(h, a.site.ignored)
		}
	}
	a.selector = &law.Selector{Header: h, Classes: a.plan.Classes}
	return a.selector
}

// use decides what e is good for.
func (a *ask) use(e *memory.Entry) law.Use { return a.site.cache.use(e, a.cc, a.now) }

func (c *Cache) use(e *memory.Entry, cc law.Directives, now time.Time) law.Use {
	use := law.Reuse(c.stored(e), cc, now.UnixNano())
	if use == law.Fresh && c.follower != nil {
		use = c.doubted(e, now)
	}
	return use
}

func (a *ask) stored(e *memory.Entry) law.Stored { return a.site.cache.stored(e) }

func (c *Cache) stored(e *memory.Entry) law.Stored {
	return law.Stored{
		Born: e.Born, FreshUntil: e.FreshUntil, Purged: e.Purged(),
		Grace: time.Duration(e.Grace), ErrorGrace: time.Duration(e.ErrorGrace),
		PurgeGrace: c.opts.Grace,
		Validate:   e.Flags&memory.Validate != 0,
		NoStale:    e.Flags&memory.NoStale != 0,
		Immutable:  e.Flags&memory.Immutable != 0,
	}
}

// mayCover reports whether e may be served in place of an error, whatever the
// client has demanded.
func (a *ask) mayCover(e *memory.Entry, now time.Time) bool {
	return law.Reuse(a.stored(e), nil, now.UnixNano()) != law.Ask
}

// clone returns a copy with a request of its own, for another goroutine.
func (a *ask) clone(ctx context.Context) *ask {
	b := *a
	b.selector, b.found = nil, [2]*memory.Entry{}
	b.r = a.r.Clone(ctx)
	return &b
}

// personal reports whether an answer may be the visitor's alone for what the
// request says, and not for what the answer says.
func (a *ask) personal() bool { return a.cookie || a.auth || a.noStore || len(a.strange) > 0 }

// apart reports whether an answer is so likely to be the visitor's alone that nobody
// waits for it.
func (a *ask) apart() bool {
	return a.cookie && !a.plan.Shared || a.auth || a.noStore || len(a.strange) > 0
}

// marker identifies the request among the markers.
func (a *ask) marker(url []byte) uint64 {
	n := maphash.Bytes(seed, url) + maphash.String(seed, a.parts)
	if a.https {
		n = ^n
	}
	return n
}

// marked reports whether the response was not to be stored lately.
func (a *ask) marked(url []byte) bool { return a.site.cache.markers.has(a.marker(url), a.now) }

// detached returns a copy of a that outlives the call, with its URL; what was found
// stays with a.
func (a *ask) detached(url []byte) *ask {
	b := new(ask)
	*b = *a
	b.found = [2]*memory.Entry{}
	b.url = string(url)
	b.noStore = !a.site.cache.opts.IgnoreNoStore && law.NoStore(a.r.Header["Cache-Control"])
	b.strange = strange(a.r, a.site.cache.opts.FillFields)
	return b
}

// release releases what was found. It may be called again.
func (a *ask) release() {
	for i, e := range a.found {
		if e != nil {
			a.found[i] = nil
			a.site.cache.store.Release(e)
		}
	}
}

// ranged reports whether a request is for one part that may be stored by
// itself: it is passed on as it is, since the whole may be large.
func (a *ask) ranged() bool {
	return a.r.Method == http.MethodGet && !a.cookie && !a.auth && a.r.Header["If-Range"] == nil &&
		law.OneRange(a.r.Header["Range"])
}
