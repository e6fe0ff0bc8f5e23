package cache

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"time"

	"github.com/foretier/foretier/cache/internal/law"
	"github.com/foretier/foretier/cache/internal/memory"
	"github.com/foretier/foretier/health"
	"github.com/foretier/foretier/internal/transit"
)

const (
	maxWaiting    = 1000 // requests that wait for one fetch
	maxRefreshing = 16   // refreshes at once behind one handler
	smallRange    = 1 << 20
)

// handler is one handler behind the cache.
type handler struct {
	cache      *Cache
	next       http.Handler
	owners     []cookieOwner
	flights    flights
	refreshing chan struct{} // a place for each refresh that runs
}

// A cookieOwner is a layer below that has cookies of its own, a pool that pins
// visitors.
type cookieOwner interface{ OwnsCookie(name string) bool }

func newHandler(c *Cache, next http.Handler) *handler {
	h := &handler{cache: c, next: next, refreshing: make(chan struct{}, maxRefreshing)}
	h.findOwners(next)
	return h
}

// findOwners looks for owners of cookies in what next wraps.
func (h *handler) findOwners(next http.Handler) {
	if o, ok := next.(cookieOwner); ok {
		h.owners = append(h.owners, o)
	}
	if w, ok := next.(interface{ Wraps() []http.Handler }); ok {
		for _, below := range w.Wraps() {
			h.findOwners(below)
		}
	}
}

// owned reports whether a cookie is the tier's own. Such stay on what is sent
// below, which takes them off itself.
func (h *handler) owned(name string) bool {
	for _, o := range h.owners {
		if o.OwnsCookie(name) {
			return true
		}
	}
	return false
}

// dropped reports whether a cookie is taken off a request that is looked up.
func (h *handler) dropped(name string) bool {
	return names(h.cache.opts.IgnoreCookies).match(name) && !h.owned(name)
}

// ignored reports whether a cookie has no bearing on the response.
func (h *handler) ignored(name string) bool {
	return names(h.cache.opts.IgnoreCookies).match(name) || h.owned(name)
}

func (h *handler) ignoresAny() bool { return len(h.cache.opts.IgnoreCookies) > 0 || len(h.owners) > 0 }

// ServeHTTP implements [http.Handler].
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if why := bypass(r); why != "" {
		h.pass(w, r, nil, "bypass", why)
		return
	}
	var a ask
	a.read(h, r)
	if a.plan.Pass {
		h.pass(w, r, nil, "bypass", a.plan.Why)
		return
	}
	e := h.cache.store.Get(a.url, a.fits)
	if e == nil {
		h.cache.figures.misses.Add(1)
		h.miss(w, a.keep(), nil)
		return
	}
	defer h.cache.store.Release(e)
	switch use := a.use(e); {
	case use == law.Fresh:
		h.cache.figures.hits.Add(1)
		h.note(r, noteHit)
		h.serve(w, &a, e, "")
	case use == law.Grace:
		h.cache.figures.stale.Add(1)
		h.refresh(a.keep(), e)
		h.note(r, noteStale)
		h.serve(w, &a, e, "")
	case use == law.Sick && !health.Healthy(h.next, r):
		h.cache.figures.stale.Add(1)
		h.refresh(a.keep(), e)
		h.note(r, noteSick)
		h.serve(w, &a, e, "backend is sick")
	default:
		h.cache.figures.misses.Add(1)
		h.miss(w, a.keep(), e)
	}
}

// A note is what the log line says of the cache.
type note string

// LogValue implements [slog.LogValuer].
func (n note) LogValue() slog.Value { return slog.StringValue(string(n)) }

// What is noted of every hit takes no memory.
var (
	noteHit   slog.LogValuer = note("hit")
	noteStale slog.LogValuer = note("stale")
	noteSick  slog.LogValuer = note("stale, the backend is sick")
)

func (h *handler) note(r *http.Request, n slog.LogValuer) { transit.From(r.Context()).Note("cache", n) }

// keep returns a copy of a that outlives the call.
func (a *ask) keep() *ask {
	b := new(ask)
	*b = *a
	b.url = append([]byte(nil), a.url...)
	return b
}

// miss answers a request that what is stored, if anything, does not answer.
func (h *handler) miss(w http.ResponseWriter, a *ask, stale *memory.Entry) {
	r := a.r
	if a.cc.Has("only-if-cached") {
		// RFC 9111, section 5.2.1.7.
		w.Header().Set("Cache-Status", h.cache.opts.Name+"; fwd=miss; detail=only-if-cached")
		transit.Fail(w, r, http.StatusGatewayTimeout, errNotStored)
		return
	}
	a.reason = "uri-miss"
	if stale != nil {
		a.reason = "stale"
		if a.now.UnixNano() < stale.FreshUntil {
			a.reason = "request"
		}
	}
	switch {
	case r.Method == http.MethodHead:
		h.pass(w, r, a, a.reason, "HEAD")
		return
	case r.Header["Range"] != nil && (stale == nil || stale.Len() > smallRange):
		h.pass(w, r, a, a.reason, "Range")
		return
	case stale == nil && h.cache.markers.has(a.marker(), a.now):
		h.pass(w, r, a, a.reason, "not to be stored lately")
		return
	}
	h.fetch(w, a, stale)
}

// errNotStored is why only-if-cached is answered 504.
var errNotStored = errors.New("cache: not stored, and the request wants nothing else")

// errCrowded is why a request that would wait behind very many is refused.
var errCrowded = errors.New("cache: too many wait for the same response")

// fetch answers a from a fetch of its own or another's.
func (h *handler) fetch(w http.ResponseWriter, a *ask, stale *memory.Entry) {
	conditional, selecting := true, ""
	alone := a.cookie || a.auth || stale != nil && stale.Flags&memory.Validate != 0
	if stale != nil {
		selecting, _ = stale.Vary()
	}
	var late *fetch // one whose header did not come in time
	for range 8 {
		f, leads, err := h.flights.join(h, w, a, stale, a.key(selecting), conditional, alone, late)
		if err != nil {
			transit.Fail(w, a.r, http.StatusServiceUnavailable, err)
			return
		}
		if f == nil { // closed
			break
		}
		if !leads {
			switch h.await(a, f) {
			case waitGone:
				return
			case waitLate:
				late = f
				continue
			}
		} else if !h.lead(a, f) {
			return
		}
		done := false
		switch f.outcome {
		case shared, modified:
			if !leads && !f.suits(a) {
				selecting = law.Selecting(f.answer["Vary"])
				stale = nil
				alone = alone || f.verdict.Fresh <= 0
				break
			}
			done = h.join(w, a, f, leads)
		case private:
			if f.cause == nil {
				alone = true
				break
			}
			transit.Fail(w, a.r, f.status, f.cause)
			done = true
		case covered:
			if f.stale != nil {
				h.cover(w, a, f)
				done = true
			}
		case failed:
			if leads && f.panicked != nil {
				panic(http.ErrAbortHandler)
			}
			h.link(a, f)
			transit.Fail(w, a.r, f.status, f.cause)
			done = true
		case again:
			conditional = false
		}
		if done {
			return
		}
	}
	h.pass(w, a.r, a, a.reason, "no fetch to share")
}

// suits reports whether a's request may be served from another's fetch: it
// selects the same variant, and no invalidation came between.
func (f *fetch) suits(a *ask) bool {
	if f.verdict.Fresh <= 0 {
		return false
	}
	return f.entry.HTTPS == a.https && a.fits(f.entry) && !f.h.cache.log.overtaken(f.position, f.entry)
}

// lead waits until the leader's own fetch has a header, and for its end if the
// answer is the leader's alone. It reports false if nothing is left to do.
func (h *handler) lead(a *ask, f *fetch) bool {
	ctx := a.r.Context()
	select {
	case <-f.ready:
	case <-ctx.Done():
		if f.abandon() {
			return false // the fetch goes on for those who wait, and to be stored
		}
	}
	if f.outcome != private {
		return true
	}
	stop := context.AfterFunc(ctx, func() { f.cancel(context.Cause(ctx)) })
	<-f.done
	stop()
	h.note(a.r, note("miss: "+f.why))
	h.link(a, f)
	if f.panicked != nil {
		panic(http.ErrAbortHandler)
	}
	return false
}

// abandon takes the leader off a fetch that has no header yet.
func (f *fetch) abandon() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.outcome != pending {
		return false
	}
	f.gone = true
	return true
}

type waitResult uint8

const (
	waitReady waitResult = iota
	waitLate
	waitGone
)

// await waits for the header of another's fetch.
func (h *handler) await(a *ask, f *fetch) waitResult {
	defer h.flights.unwait(f)
	timer := time.NewTimer(h.cache.opts.Wait)
	defer timer.Stop()
	select {
	case <-f.ready:
		return waitReady
	case <-timer.C:
		return waitLate
	case <-a.r.Context().Done():
		return waitGone
	}
}

// join serves a response from the fetch that brings it.
func (h *handler) join(w http.ResponseWriter, a *ask, f *fetch, leads bool) bool {
	defer h.link(a, f)
	params := "; fwd=" + a.reason + "; fwd-status=" + itoa(f.status)
	if !leads {
		params += "; collapsed"
		h.cache.figures.collapsed.Add(1)
		h.note(a.r, note("miss: another's fetch"))
	} else {
		h.note(a.r, note("miss: stored"))
	}
	if f.outcome == modified {
		h.serveEntry(w, a, f.entry, params)
		return true
	}
	reader := f.body.read()
	if reader == nil {
		return false
	}
	defer reader.close()
	if h.serveNotModified(w, a, f.entry, params+"; stored") {
		return true
	}
	header := w.Header()
	for name, values := range f.answer {
		header[name] = values[:len(values):len(values)]
	}
	setAge(header, f.entry, time.Now())
	h.cache.addStatus(header, params+"; stored")
	w.WriteHeader(f.status)
	flusher := http.NewResponseController(w)
	for {
		p, err := reader.next(a.r.Context())
		if err == io.EOF {
			return true
		}
		if err == nil {
			_, err = w.Write(p)
			if f.length < 0 && err == nil {
				_ = flusher.Flush() // a writer that cannot is none the worse
			}
		}
		if err != nil {
			panic(http.ErrAbortHandler) // the client must not take it for whole
		}
	}
}

// cover serves what is stale in place of an error.
func (h *handler) cover(w http.ResponseWriter, a *ask, f *fetch) {
	defer h.link(a, f)
	h.note(a.r, note("stale: "+f.why))
	h.cache.figures.covered.Add(1)
	h.serveEntry(w, a, f.stale, "; fwd="+a.reason+detail("stale: "+f.why))
}

// link shows what the fetch noted in the request's record, once it has ended.
func (h *handler) link(a *ask, f *fetch) {
	select {
	case <-f.done:
		transit.From(a.r.Context()).Link(f.record)
	default:
	}
}

// refresh fetches anew what is stale, behind the client's back, unless that is
// under way or too many are.
func (h *handler) refresh(a *ask, e *memory.Entry) {
	if !e.Refresh(a.now, h.cache.opts.Fetch) {
		return
	}
	select {
	case h.refreshing <- struct{}{}:
	default:
		e.Refreshed(a.now)
		return
	}
	a.reason = "stale"
	selecting, _ := e.Vary()
	if h.start(a, nil, e, a.key(selecting), true) == nil {
		<-h.refreshing
	}
}

// pass hands the request to next with the client's own writer. a may be nil.
func (h *handler) pass(w http.ResponseWriter, r *http.Request, a *ask, reason, why string) {
	h.cache.figures.passes.Add(1)
	h.note(r, note("pass: "+why))
	if r.Header["Upgrade"] != nil {
		h.next.ServeHTTP(w, r)
		return
	}
	p := &passWriter{ResponseWriter: w, h: h, r: r, ask: a, reason: reason, why: why}
	h.next.ServeHTTP(p, r)
	if !p.wrote {
		p.WriteHeader(http.StatusOK)
	}
}

// A passWriter sees the head of a response that goes straight through.
type passWriter struct {
	http.ResponseWriter
	h           *handler
	r           *http.Request
	ask         *ask
	reason, why string
	wrote       bool
}

// Unwrap is for [http.ResponseController].
func (p *passWriter) Unwrap() http.ResponseWriter { return p.ResponseWriter }

// WriteHeader implements [http.ResponseWriter].
func (p *passWriter) WriteHeader(status int) {
	if status >= 200 && !p.wrote {
		p.wrote = true
		p.h.passed(p, status)
	}
	p.ResponseWriter.WriteHeader(status)
}

// Write implements [http.ResponseWriter].
func (p *passWriter) Write(b []byte) (int, error) {
	if !p.wrote {
		p.WriteHeader(http.StatusOK)
	}
	return p.ResponseWriter.Write(b)
}

// Flush implements [http.Flusher].
func (p *passWriter) Flush() { _ = p.FlushError() }

// FlushError is for [http.ResponseController].
func (p *passWriter) FlushError() error {
	if !p.wrote {
		p.WriteHeader(http.StatusOK)
	}
	return http.NewResponseController(p.ResponseWriter).Flush()
}

// passed draws the conclusions from a response that goes straight through: an
// unsafe method that succeeded invalidates (RFC 9111, section 4.4), and what
// may be stored again is no longer marked.
func (h *handler) passed(p *passWriter, status int) {
	header := p.Header()
	for _, name := range law.TagFields {
		delete(header, name)
	}
	h.cache.addStatus(header, "; fwd="+p.reason+"; fwd-status="+itoa(status)+detail(p.why))
	switch {
	case law.Unsafe(p.r.Method):
		if status >= 200 && status < 400 {
			h.invalidate(p.r, header)
		}
	case p.ask != nil && p.r.Method == http.MethodGet:
		if v, j := p.ask.judge(p.r, status, header, p.ask.now, time.Now()); v.Store && worthKeeping(v, j, header) {
			h.cache.markers.clear(p.ask.marker())
		}
	}
}

// Explain implements [health.Explainer].
func (h *handler) Explain(r *http.Request) health.Decision {
	d := health.Decision{Part: "cache"}
	next := func() { d.Next = []health.Decision{health.Explain(h.next, r)} }
	if why := bypass(r); why != "" {
		d.Verdict, d.Why = "pass", why
		next()
		return d
	}
	var a ask
	a.read(h, r)
	d.Steps = append(d.Steps, fmt.Sprintf("key: %s, https %t, parts %q", a.url, a.https, a.plan.Key))
	if a.plan.Pass {
		d.Verdict, d.Why = "pass", "rule: "+a.plan.Why
		next()
		return d
	}
	if a.cookie {
		d.Steps = append(d.Steps, "cookie: stored only with public or s-maxage, waits for nobody")
	}
	e := h.cache.store.Get(a.url, a.fits)
	if e == nil {
		d.Verdict, d.Why = "miss", "nothing stored matches"
		if h.cache.markers.has(a.marker(), a.now) {
			d.Verdict, d.Why = "pass", "not to be stored lately"
		}
		next()
		return d
	}
	defer h.cache.store.Release(e)
	d.Steps = append(d.Steps, fmt.Sprintf("stored: status %d, %d bytes, age %v, fresh for %v more, grace %v, error grace %v",
		e.Status, e.Len(), a.now.Sub(time.Unix(0, e.Born)).Round(time.Millisecond),
		time.Unix(0, e.FreshUntil).Sub(a.now).Round(time.Millisecond), time.Duration(e.Grace), time.Duration(e.ErrorGrace)))
	if e.Purged() != 0 {
		d.Steps = append(d.Steps, "purged "+a.now.Sub(time.Unix(0, e.Purged())).Round(time.Millisecond).String()+" ago")
	}
	switch use := a.use(e); {
	case use == law.Fresh:
		d.Verdict = "hit"
		return d
	case use == law.Grace:
		d.Verdict, d.Why = "hit", "stale within grace, refreshed meanwhile"
	case use == law.Sick && !h.Healthy(r):
		d.Verdict, d.Why = "hit", "stale, and the backend is sick"
	default:
		d.Verdict, d.Why = "miss", "stale"
	}
	next()
	return d
}

// Healthy reports whether what lies below could serve r now.
func (h *handler) Healthy(r *http.Request) bool { return health.Healthy(h.next, r) }

// Wraps returns what lies below.
func (h *handler) Wraps() []http.Handler { return []http.Handler{h.next} }
