package router

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"github.com/foretier/foretier/health"
	"github.com/foretier/foretier/internal/fields"
	"github.com/foretier/foretier/internal/transit"
	"github.com/foretier/foretier/router/internal/proof"
)

const (
	fallbackAtOnce    = 4               // second requests at a time
	fallbackPerSecond = 20              // and a second
	notFoundLifetime  = 5 * time.Second // of a final 404, at most
)

// Fallback returns a handler that asks first and, when that answers 404 to a
// GET or HEAD without a body, asks then, once: for files that the
// authoritative server has and the others do not have yet. It is meant for
// rules like /media/*. Bots ask for pages that nobody has, so at most 4
// requests at once and 20 a second are asked a second time; beyond, the first
// answer stands.
//
// A 404 that remains may be cached for as long as it says, but for 5 seconds at
// most: the file may come at any moment.
//
// No body is held in memory: a 404's is dropped as it comes, any other
// response goes through as it is.
func Fallback(first, then http.Handler) http.Handler {
	return &fallback{
		first: first, then: then,
		slots: make(chan struct{}, fallbackAtOnce),
		limit: rate.NewLimiter(fallbackPerSecond, fallbackPerSecond),
	}
}

type fallback struct {
	first, then http.Handler
	slots       chan struct{}
	limit       *rate.Limiter
	asked       atomic.Uint64 // times that then was asked
	found       atomic.Uint64 // times that it had what was asked for
	bounded     atomic.Uint64 // times that it was not asked, for the bounds

	mu     sync.Mutex
	recent []lag // guarded by mu; the latest paths that only then had, oldest first
}

// A lag is a path that the first handler did not have yet.
type lag struct {
	path  string
	times int
	last  time.Time
}

// maxLags is how many paths a fallback remembers.
const maxLags = 32

// ServeHTTP implements [http.Handler].
func (f *fallback) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !retryable(r) {
		f.first.ServeHTTP(w, r)
		return
	}
	before := w.Header().Clone()
	fw := &fallbackWriter{ResponseWriter: w, acquire: f.acquire}
	defer func() {
		if fw.missed {
			<-f.slots
		}
	}()
	serveFirst(f.first, fw, r)
	if !fw.missed {
		return
	}
	f.asked.Add(1)
	h := w.Header()
	clear(h)
	for name, values := range before {
		h[name] = values
	}
	transit.From(r.Context()).Unproven = false // was the first answer's
	last := &fallbackWriter{ResponseWriter: w}
	f.then.ServeHTTP(last, r)
	if last.status < 400 {
		f.found.Add(1)
		f.remember(r.URL.Path, time.Now())
	}
}

// remember counts a path that only the second handler had.
func (f *fallback) remember(path string, now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	l := lag{path: path}
	if i := slices.IndexFunc(f.recent, func(l lag) bool { return l.path == path }); i >= 0 {
		l = f.recent[i]
		f.recent = slices.Delete(f.recent, i, i+1)
	} else if len(f.recent) == maxLags {
		f.recent = slices.Delete(f.recent, 0, 1)
	}
	l.times, l.last = l.times+1, now
	f.recent = append(f.recent, l)
}

// serveFirst calls h. That a dropped response broke off does not matter.
func serveFirst(h http.Handler, w *fallbackWriter, r *http.Request) {
	defer func() {
		if !w.missed {
			return
		}
		if v := recover(); v != nil && v != http.ErrAbortHandler {
			panic(v)
		}
	}()
	h.ServeHTTP(w, r)
}

// retryable reports whether r may be asked twice.
func retryable(r *http.Request) bool {
	return (r.Method == http.MethodGet || r.Method == http.MethodHead) && r.ContentLength == 0 &&
		r.Header["Upgrade"] == nil
}

// acquire reports whether one more request may be asked a second time. If so,
// its slot must be given back.
func (f *fallback) acquire() bool {
	select {
	case f.slots <- struct{}{}:
		if f.limit.Allow() {
			return true
		}
		<-f.slots
	default:
	}
	f.bounded.Add(1)
	return false
}

// allows tells what acquire would answer, and counts nothing.
func (f *fallback) allows() bool {
	return len(f.slots) < cap(f.slots) && f.limit.Tokens() >= 1
}

// draw implements drawer.
func (f *fallback) draw(c *chart, out *proof.Handler, above []http.Handler) {
	out.Ways = []proof.Way{
		{To: c.handler(f.first, above)},
		{When: asCondition(Method(http.MethodGet)), To: c.handler(f.then, above)},
	}
}

// Wraps returns both handlers.
func (f *fallback) Wraps() []http.Handler { return []http.Handler{f.first, f.then} }

// Healthy reports whether first could serve r: it answers nearly everything.
func (f *fallback) Healthy(r *http.Request) bool { return health.Healthy(f.first, r) }

// Explain implements [health.Explainer].
func (f *fallback) Explain(r *http.Request) health.Decision {
	d := health.Decision{Part: "fallback", Verdict: "asks the first", Next: []health.Decision{health.Explain(f.first, r)}}
	if !retryable(r) {
		d.Why = "only a GET or HEAD without body is asked twice"
		return d
	}
	if !f.allows() {
		d.Why = "on 404 its answer stands: too many are being asked again"
		return d
	}
	d.Why = "on 404 it asks the second"
	d.Next = append(d.Next, health.Explain(f.then, r))
	return d
}

// Report implements [health.Reporter].
//
// Its events are the latest paths that only the second handler had: what the
// first ones lag behind with.
func (f *fallback) Report() health.Report {
	out := health.Report{Kind: "fallback", Name: "fallback", State: health.Up, Metrics: []health.Metric{
		health.Count("requests_repeated_total", "Requests that were sent to the second handler after a 404.", f.asked.Load()),
		health.Count("requests_found_total", "Requests for what only the second handler had.", f.found.Load()),
		health.Count("requests_bounded_total", "Requests whose 404 stood because too many were being repeated.", f.bounded.Load()),
	}}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, l := range f.recent {
		out.Events = append(out.Events, health.Event{Time: l.last, Text: fmt.Sprintf("%s: found at the second only, %d times", l.path, l.times)})
	}
	return out
}

// A fallbackWriter passes a response through unless it is a 404 for which
// acquire, if there is one, allows a second question; then it drops it.
type fallbackWriter struct {
	http.ResponseWriter
	acquire func() bool
	status  int         // of the final header; 0 before
	missed  bool        // the response is being dropped
	scratch http.Header // of the dropped response
}

// Unwrap serves [http.ResponseController].
func (w *fallbackWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *fallbackWriter) Header() http.Header {
	if w.missed {
		return w.scratch
	}
	return w.ResponseWriter.Header()
}

func (w *fallbackWriter) WriteHeader(status int) {
	if w.missed {
		return
	}
	if status >= 200 || status == http.StatusSwitchingProtocols {
		if w.status != 0 {
			return
		}
		w.status = status
		if status == http.StatusNotFound {
			if w.acquire != nil && w.acquire() {
				w.missed, w.scratch = true, http.Header{}
				return
			}
			shorten(w.Header())
		}
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *fallbackWriter) Write(p []byte) (int, error) {
	w.implicit()
	if w.missed {
		return len(p), nil
	}
	return w.ResponseWriter.Write(p)
}

// FlushError serves [http.ResponseController].
func (w *fallbackWriter) FlushError() error {
	w.implicit()
	if w.missed {
		return nil
	}
	return http.NewResponseController(w.ResponseWriter).Flush()
}

// Flush implements [http.Flusher].
func (w *fallbackWriter) Flush() { _ = w.FlushError() } // a Flusher cannot report

func (w *fallbackWriter) implicit() {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
}

// shorten lets caches store a 404 for no more than notFoundLifetime. One that
// states no lifetime gets none, so that neither heuristics nor a cache's own
// rules give it one. Quoted strings are not respected here, nor in unstorable:
// what is taken from one by mistake only shortens more.
func shorten(h http.Header) {
	lifetime, _ := lifetimeOf(h)
	directives := unstorable(h)
	if !slices.Contains(directives, "no-store") {
		directives = append(directives, "max-age="+strconv.Itoa(min(lifetime, int(notFoundLifetime/time.Second))))
	}
	fields.CacheControl(h, strings.Join(directives, ", "))
}

// lifetimeOf returns the seconds for which an answer says that it is fresh, the least of
// them, and whether it says so.
func lifetimeOf(h http.Header) (lifetime int, stated bool) {
	lifetime = expiresAfter(h)
	for _, directive := range fields.List(h["Cache-Control"]) {
		name, value, _ := strings.Cut(strings.ToLower(directive), "=")
		switch name {
		case "max-age", "s-maxage":
			age, _ := fields.DeltaSeconds(strings.Trim(value, `"`)) // no number is stale at once (RFC 9111, section 4.2.1)
			if seconds := int(age / time.Second); !stated || seconds < lifetime {
				lifetime, stated = seconds, true // overrides Expires
			}
		}
	}
	return lifetime, stated || h["Expires"] != nil
}

// unstorable returns what h forbids caches, in whatever field it says so to one
// of them: once the fields are one, it holds for all.
func unstorable(h http.Header) (directives []string) {
	for _, want := range [...]string{"no-store", "no-cache", "private"} {
		for name, lines := range h {
			if fields.OrdersCaches(name) && slices.ContainsFunc(fields.List(lines), func(member string) bool {
				// An argument, a list of fields or one cache's name, would only weaken it.
				end := strings.IndexAny(member+";", "=;")
				return strings.EqualFold(strings.TrimSpace(member[:end]), want)
			}) {
				directives = append(directives, want)
				break
			}
		}
	}
	return directives
}

// expiresAfter returns the seconds that Expires gives a response (RFC 9111,
// section 5.3), 0 if it has none.
func expiresAfter(h http.Header) int {
	expires, err := http.ParseTime(h.Get("Expires"))
	if err != nil {
		return 0
	}
	date, err := http.ParseTime(h.Get("Date"))
	if err != nil {
		date = time.Now()
	}
	return int(max(0, expires.Sub(date)) / time.Second)
}
