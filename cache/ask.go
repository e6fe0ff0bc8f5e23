package cache

import (
	"context"
	"hash/maphash"
	"math"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/foretier/foretier/cache/internal/law"
	"github.com/foretier/foretier/cache/internal/memory"
	"github.com/foretier/foretier/internal/fields"
	"github.com/foretier/foretier/internal/target"
	"github.com/foretier/foretier/internal/transit"
)

// An ask is a request as the cache sees it: what it is looked up by and what it
// demands.
type ask struct {
	h        *handler
	r        *http.Request
	now      time.Time
	plan     Plan
	url      string // host, path and query; set by keep
	https    bool
	parts    string
	cc       law.Directives // empty unless obeyed
	obeyed   bool           // the client is one of Options.Orders
	noStore  bool           // it wants nothing stored of its answer; set by keep
	cookie   bool           // has cookies that may bear on the response
	auth     bool
	partial  bool          // to be fetched as the part that it asks for
	selector *law.Selector // see selecting
	strange  []string      // its fields that may fill nothing; set by keep
	reason   string        // why it is forwarded, in the words of RFC 9211

	held [2]*memory.Entry // what was found, for as long as it may be of use
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
func (h *handler) read(r *http.Request, buf []byte) (ask, []byte) {
	a := ask{h: h, r: r, now: time.Now()}
	opts := &h.cache.opts
	if opts.Rules.Plan != nil {
		a.plan = opts.Rules.Plan(r)
	}
	url := appendURL(buf, r, a.plan.Query)
	a.https = isHTTPS(r)
	a.parts = joinParts(a.plan.Key)
	if a.plan.Cookies != nil {
		a.parts += "\x01\x02" + joinParts(cookiePairs(r, a.plan.Cookies)) // no part of the key ends so
	}
	if rec := transit.From(r.Context()); rec != nil && rec.Space != "" {
		a.parts += "\x01\x03" + rec.Space // nor so
	}
	if len(opts.Orders) > 0 {
		a.orders(opts.Orders)
	}
	if r.Header["Cookie"] != nil && a.plan.Cookies == nil {
		a.cookie = hasCookie(r.Header, h.ignored)
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
		return a.parts == ""
	}
	if m.Parts != a.parts || e.Flags&memory.Part != 0 && !a.fitsPart(e) {
		return false
	}
	return a.sameVariant(e)
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
	if h["Cookie"] != nil && (a.plan.Cookies != nil || a.h.ignoresAny()) {
		h = h.Clone()
		if a.plan.Cookies != nil {
			delete(h, "Cookie")
		} else {
			fields.DropCookies(h, a.h.ignored)
		}
	}
	a.selector = &law.Selector{Header: h, Classes: a.plan.Classes}
	return a.selector
}

// drops reports whether a cookie is taken off a request that is looked up.
func (a *ask) drops(name string) bool {
	if a.h.owned(name) {
		return false
	}
	if a.plan.Cookies != nil {
		return !slices.Contains(a.plan.Cookies, name)
	}
	return names(a.h.cache.opts.IgnoreCookies).match(name)
}

// use decides what e is good for.
func (a *ask) use(e *memory.Entry) law.Use { return law.Reuse(a.stored(e), a.cc, a.now.UnixNano()) }

func (a *ask) stored(e *memory.Entry) law.Stored {
	return law.Stored{
		Born: e.Born, FreshUntil: e.FreshUntil, Purged: e.Purged(),
		Grace: time.Duration(e.Grace), ErrorGrace: time.Duration(e.ErrorGrace),
		PurgeGrace: a.h.cache.opts.Grace,
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

// judge asks the law and then the operator's rule.
func (a *ask) judge(r *http.Request, status int, h http.Header, asked, now time.Time) (Verdict, law.Judgement) {
	opts := &a.h.cache.opts
	j := law.Judge(
		law.Request{
			Method: r.Method, Range: r.Header["Range"] != nil, NoStore: a.noStore, Authorization: a.auth, Cookie: a.cookie,
			SameLocation: r.Method == http.MethodPost && a.sameLocation(h), Trusted: a.obeyed,
		},
		law.Response{Status: status, Header: h, Asked: asked, Now: now, Name: opts.Name},
	)
	if j.Store && variesUnseen(r, h) {
		j.Store, j.Why = false, "varies on what the pool writes"
	}
	v := Verdict{Store: j.Store, Stated: j.Stated, Fresh: j.Fresh, ErrorFresh: law.ErrorLifetime, Why: j.Why}
	if !j.NoStale {
		v.Grace, v.ErrorGrace = opts.Grace, opts.ErrorGrace
		if j.Stated {
			v.Grace = 0
		}
		if j.While >= 0 {
			v.Grace = j.While
		}
		if j.IfError >= 0 {
			v.ErrorGrace = j.IfError
		}
	}
	if hasValidator(h) {
		v.Keep = opts.Keep
	}
	v.Tags = law.Tags(h)
	if len(v.Tags) > 0 {
		v.Strip = law.TagFields[:]
	}
	if d, ok := r.Context().Value(dependsKey{}).(*depends); ok {
		v.Tags = append(v.Tags, d.list()...)
	}
	for _, group := range law.Groups(h["Cache-Groups"]) {
		v.Tags = append(v.Tags, groupTag(a.r.Host, a.https, group))
	}
	if opts.Rules.Verdict != nil {
		v = opts.Rules.Verdict(r, Head{status, h}, v)
	}
	if status >= 400 && !j.Stated {
		v.Fresh = min(v.Fresh, max(v.ErrorFresh, 0))
	}
	if v.Store && !a.told(h) { // not even by a rule
		v.Store, v.Why = false, "asked for with fields that may fill nothing"
	}
	return v, j
}

// variesUnseen reports whether a response varies on a field that the pool has
// made or changed on the way to the backend, by its user's Rewrite for one:
// variants would be matched by what the client sent, which is not what the
// response depends on. What follows from scheme and host is in the key.
func variesUnseen(r *http.Request, h http.Header) bool {
	rec := transit.From(r.Context())
	if rec == nil || rec.Sent == nil || h["Vary"] == nil {
		return false
	}
	for name := range strings.SplitSeq(law.Selecting(h), ",") {
		switch name {
		case "Host", "X-Forwarded-Proto", "X-Forwarded-Host", "X-Forwarded-Port":
			continue
		}
		sent := rec.Sent[name]
		if name == "User-Agent" && len(sent) == 1 && sent[0] == "" {
			sent = nil // how net/http is told to send none
		}
		if !slices.Equal(sent, r.Header[name]) {
			return true
		}
	}
	return false
}

// groupTag returns the tag that a group of an origin is (RFC 9875, section 2):
// groups of different origins have nothing to do with each other.
func groupTag(host string, https bool, name string) string {
	scheme := "http://"
	if https {
		scheme = "https://"
	}
	return string(appendHost([]byte(scheme), host, https)) + "/" + name
}

// worthKeeping reports whether a response that may be stored has a lifetime,
// or can be validated and says so.
func worthKeeping(v Verdict, j law.Judgement, h http.Header) bool {
	stated := j.Stated || j.Validate
	return v.Fresh > 0 || stated && (v.Grace > 0 || v.Keep > 0 && hasValidator(h))
}

// sameLocation reports whether a response says that it is what a GET of the
// same URL would bring (RFC 9110, section 8.7).
func (a *ask) sameLocation(h http.Header) bool {
	lines := h["Content-Location"]
	if len(lines) != 1 {
		return false
	}
	u := refersTo(a.r, lines[0])
	return u != nil && sameOrigin(a.r, u) &&
		target.Normal(target.Of(u).String()) == target.Normal(target.Of(a.r.URL).String())
}

func hasValidator(h http.Header) bool { return h["Etag"] != nil || h["Last-Modified"] != nil }

// entry makes what is stored of a response; its body is not known yet.
func (a *ask) entry(status int, answer http.Header, v Verdict, j law.Judgement, asked, now time.Time) *memory.Entry {
	for _, name := range v.Strip {
		answer.Del(name)
	}
	for _, name := range j.Private {
		answer.Del(name)
	}
	delete(answer, "Age")
	if answer["Date"] == nil {
		answer["Date"] = []string{now.UTC().Format(http.TimeFormat)} // RFC 9110, section 6.6.1
	}
	e := &memory.Entry{
		URL: a.url, Head: memory.FormatHead(answer), Status: uint16(status), HTTPS: a.https,
		Born: now.Add(-j.Age).UnixNano(), FreshUntil: now.Add(v.Fresh).UnixNano(),
		Cost:  uint32(min(now.Sub(asked).Milliseconds(), math.MaxUint32)),
		Grace: int64(v.Grace), ErrorGrace: int64(v.ErrorGrace), Keep: int64(v.Keep),
	}
	if j.Validate || v.Fresh <= 0 && v.Grace <= 0 {
		e.Flags |= memory.Validate
	}
	if j.NoStale && v.Grace <= 0 && v.ErrorGrace <= 0 {
		e.Flags |= memory.NoStale
	}
	if j.Public {
		e.Flags |= memory.Public
	}
	if j.Immutable {
		e.Flags |= memory.Immutable
	}
	vary := law.SelectingOf(a.r.Header, answer)
	name := nameOf(a.url)
	if vary == "" && a.parts == "" && len(v.Tags) == 0 && name == a.url {
		return e
	}
	e.More = &memory.More{Parts: a.parts, Vary: vary}
	if vary != "" {
		e.More.Variant = a.selecting().Variant(vary, answer)
	}
	e.More.Tags = hashTags(v.Tags)
	if name != a.url {
		e.More.Tags = append(e.More.Tags, nameTag(name))
	}
	return e
}

// narrows reports whether by a field a client asks for less than the whole,
// or under a condition. Such fields are answered here and not sent along with a
// fetch: what comes back would depend on them, and they are not in the key.
func narrows(name string) bool {
	switch name {
	case "Range", "Request-Range", // Apache takes either for the other
		"If", "Expect", "A-Im":
		return true
	}
	return strings.HasPrefix(name, "If-")
}

// A question is what a fetch is to ask the backend, and for whom.
type question struct {
	ask       *ask
	stale     *memory.Entry // what is stored and to be validated; may be nil
	begun     *memory.Entry // the stored beginning that is to be completed; may be nil
	selecting string        // the fields by which its responses are known to differ
	plain     bool          // without conditions, although something is stored
	alone     bool          // for nobody else
	refresh   bool          // nobody waits
	late      *flight       // what has been waited for long enough, or nil
	rounds    int           // how many flights of others have not answered it
}

// request returns the request by which the cache asks: the client's, without
// what is not in the key and without its conditions.
func (q *question) request(ctx context.Context) *http.Request {
	a := q.ask
	r := a.r.Clone(ctx)
	for as := range r.Header {
		if name := http.CanonicalHeaderKey(as); narrows(name) && (as != "Range" || !a.partial) {
			delete(r.Header, as)
		}
	}
	// An application that redirects to its own host would else put a redirect to
	// the page itself into its place.
	r.Host = keyHost(r)
	if r.URL.Host != "" {
		r.URL.Host = r.Host
	}
	if to := forwarded(r.URL, a.plan.Query); to.Query != r.URL.RawQuery {
		r.URL.RawQuery = to.Query
		r.RequestURI = to.String()
	}
	a.generalize(r.Header)
	if q.begun != nil && !q.plain {
		askRest(r, q.begun)
	}
	if q.stale != nil && !q.plain {
		askWhetherChanged(r, q.stale)
	}
	return r
}

// generalize takes off a header what is one visitor's, and gives the rest the
// form that it has in the key.
func (a *ask) generalize(h http.Header) {
	if !a.obeyed {
		delete(h, "Cache-Control")
		delete(h, "Pragma")
	}
	// What is told apart as one must be asked for as one.
	if lines := h["Accept-Encoding"]; lines != nil {
		h["Accept-Encoding"] = []string{law.ReadCodings(lines).String()}
	}
	if lines := h["Accept-Language"]; lines != nil {
		if text := law.ReadLanguages(lines).Text; text != "" {
			h["Accept-Language"] = []string{text}
		}
	}
	fields.DropCookies(h, a.drops)
	// Nobody else's: what is stored must not depend on what one client, or a
	// proxy before it, says that it can make of a page.
	h["Surrogate-Capability"] = []string{a.h.cache.capability}
}

// askWhetherChanged has r validate e.
func askWhetherChanged(r *http.Request, e *memory.Entry) {
	if tag := e.Field("Etag"); tag != "" {
		r.Header["If-None-Match"] = []string{tag}
	}
	if modified := e.Field("Last-Modified"); modified != "" {
		r.Header["If-Modified-Since"] = []string{modified}
	}
}

// keyHost returns the host of a request in the form that it has in the key.
func keyHost(r *http.Request) string { return string(appendHost(nil, r.Host, isHTTPS(r))) }

// clone returns a copy with a request of its own, for another goroutine.
func (a *ask) clone(ctx context.Context) *ask {
	b := *a
	b.selector, b.held = nil, [2]*memory.Entry{}
	b.r = a.r.Clone(ctx)
	return &b
}

// personal reports whether an answer may be the visitor's alone for what the
// request says, and not for what the answer says.
func (a *ask) personal() bool { return a.cookie || a.auth || a.noStore || len(a.strange) > 0 }

// anonymous makes a what a refresh asks: the whole page, by GET, on nobody's
// behalf. What a visitor would be shown is not what is wanted, and what a
// visitor orders has been obeyed already. selecting are the fields on which what
// is stored varies.
func (a *ask) anonymous(selecting string) {
	r := *a.r
	r.Method = http.MethodGet
	if a.cookie || len(a.strange) > 0 || a.r.Header["Cache-Control"] != nil || a.r.Header["Pragma"] != nil {
		r.Header = a.r.Header.Clone()
		delete(r.Header, "Cache-Control")
		delete(r.Header, "Pragma")
		if a.cookie {
			delete(r.Header, "Cookie")
		}
	}
	a.r, a.cookie, a.noStore, a.cc, a.selector = &r, false, false, nil, nil
	if len(a.strange) > 0 {
		a.plainly(selecting)
	}
}

// key identifies the question among those that are being asked.
func (q *question) key() string {
	a := q.ask
	b := append([]byte(nil), a.url...)
	b = append(b, 0)
	if a.https {
		b = append(b, 's')
	}
	b = append(append(b, 0), a.parts...)
	if a.partial {
		b = append(append(b, 0), a.r.Header.Get("Range")...)
	}
	if q.selecting != "" {
		b = a.selecting().Append(append(b, 0), q.selecting)
	}
	return string(b)
}

// marker identifies the request among the markers.
func (a *ask) marker(url []byte) uint64 {
	n := maphash.Bytes(a.h.cache.seed, url) + maphash.String(a.h.cache.seed, a.parts)
	if a.https {
		n = ^n
	}
	return n
}

// marked reports whether the response was not to be stored lately.
func (a *ask) marked(url []byte) bool { return a.h.cache.markers.has(a.marker(url), a.now) }
