package cache

import (
	"errors"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/foretier/foretier/cache/internal/law"
	"github.com/foretier/foretier/cache/internal/memory"
	"github.com/foretier/foretier/health"
	"github.com/foretier/foretier/internal/given"
	"github.com/foretier/foretier/internal/transit"
)

// maxRefreshing is how many refreshes run at once behind one handler.
const maxRefreshing = 16

// handler is one handler behind the cache.
type handler struct {
	cache      *Cache
	next       http.Handler
	owners     []cookieOwner
	loopers    []looper
	flights    flights
	refreshing chan struct{} // a place for each refresh that runs
	warned     sync.Once     // of Vary: User-Agent
}

// A cookieOwner is a layer below that has cookies of its own, a pool that pins
// visitors.
type cookieOwner interface{ OwnsCookie(name string) bool }

func newHandler(c *Cache, next http.Handler) *handler {
	h := &handler{cache: c, next: next, refreshing: make(chan struct{}, maxRefreshing)}
	h.flights.log = &c.log
	h.findOwners(next)
	return h
}

// A looper is a layer below that knows a request again which has been through
// it, a pool. Such a request must not wait for the fetch that it comes from.
type looper interface{ Looped(*http.Request) bool }

func (h *handler) looped(r *http.Request) bool {
	for _, l := range h.loopers {
		if l.Looped(r) {
			return true
		}
	}
	return false
}

// findOwners looks for owners of cookies in what next wraps, and for loopers.
func (h *handler) findOwners(next http.Handler) {
	if given.Nil(next) {
		return // whoever serves with it is told when it is made
	}
	if o, ok := next.(cookieOwner); ok {
		h.owners = append(h.owners, o)
	}
	if l, ok := next.(looper); ok {
		h.loopers = append(h.loopers, l)
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

// ignored reports whether a cookie has no bearing on the response.
func (h *handler) ignored(name string) bool {
	return names(h.cache.opts.IgnoreCookies).match(name) || h.owned(name)
}

// countAgents counts a response that is stored for one User-Agent, of which
// there are as many as versions of browsers, and says so once: the backend
// means phones and desktops, as a rule.
func (h *handler) countAgents(a *ask, e *memory.Entry) {
	vary, _ := e.Vary()
	if _, class := a.plan.Classes["User-Agent"]; class || !slices.Contains(strings.Split(vary, ","), "User-Agent") {
		return
	}
	h.cache.figures.agents.Add(1)
	h.warned.Do(func() {
		h.cache.opts.Logger.Warn("cache: pages vary on User-Agent, so that each version of a browser fetches and stores its own",
			"url", a.url, "rule", a.plan.Why, "instead", "Plan.Classes, such as cache.Devices gives, if they differ by device only")
	})
}

func (h *handler) ignoresAny() bool { return len(h.cache.opts.IgnoreCookies) > 0 || len(h.owners) > 0 }

// ServeHTTP implements [http.Handler].
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var buf [192]byte
	var a ask
	url, e, d := h.look(&a, r, buf[:0])
	a.held[0] = e
	defer a.letGo()
	switch d.act {
	case passUnseen, passByRule:
		h.pass(w, r, nil, d.reason, d.why)
	case serveFresh:
		h.cache.figures.hits.Add(1)
		if early(e, a.now) {
			h.refresh(a.keep(url), e)
		}
		h.note(r, noteHit)
		h.serve(w, &a, e, "")
	case serveInGrace:
		h.cache.figures.stale.Add(1)
		h.refresh(a.keep(url), e)
		h.note(r, noteStale)
		h.serve(w, &a, e, "")
	case serveSick:
		h.cache.figures.stale.Add(1)
		h.refresh(a.keep(url), e)
		h.note(r, noteSick)
		h.serve(w, &a, e, "backend is sick")
	default:
		h.cache.figures.misses.Add(1)
		b := a.keep(url)
		b.held, a.held = a.held, b.held
		defer b.letGo()
		h.miss(w, b, e, d)
	}
}

// early reports whether a fresh response is to be refreshed already: by chance,
// the more likely the nearer its end and the longer it takes to fetch (Vattani
// et al., Optimal Probabilistic Cache Stampede Prevention, VLDB 2015). What is
// asked for often is so never found stale.
func early(e *memory.Entry, now time.Time) bool {
	cost := time.Duration(e.Cost) * time.Millisecond
	left := time.Duration(e.FreshUntil - now.UnixNano())
	if left > 10*cost || left > time.Duration(e.FreshUntil-e.Born)/10 {
		return false
	}
	return left < time.Duration(float64(cost)*rand.ExpFloat64())
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

// keep returns a copy of a that outlives the call, with its URL.
func (a *ask) keep(url []byte) *ask {
	b := new(ask)
	*b = *a
	b.held = [2]*memory.Entry{}
	b.url = string(url)
	b.noStore = law.NoStore(a.r.Header["Cache-Control"])
	b.strange = strange(a.r.Header, a.h.cache.opts.FillFields)
	return b
}

// letGo ends the hold on what was found. It may be called again.
func (a *ask) letGo() {
	for i, e := range a.held {
		if e != nil {
			a.held[i] = nil
			a.h.cache.store.Release(e)
		}
	}
}

// miss answers a request that what is stored, if anything, does not answer.
func (h *handler) miss(w http.ResponseWriter, a *ask, stale *memory.Entry, d decision) {
	a.reason = d.reason
	switch d.act {
	case refuse:
		w.Header().Set("Cache-Status", h.cache.opts.Name+"; fwd=miss; detail="+d.why)
		h.note(a.r, note("miss: "+d.why))
		transit.Fail(w, a.r, http.StatusGatewayTimeout, errNotStored)
		return
	case passOn:
		a.letGo()
		h.pass(w, a.r, a, d.reason, d.why)
		return
	case fetchPart:
		a.partial, stale = true, nil
	}
	q := question{ask: a, stale: stale}
	if stale == nil {
		if q.begun = h.beginning(a); q.begun != nil {
			a.held[1] = q.begun
			a.reason = "partial"
		}
	} else {
		q.selecting, _ = stale.Vary()
	}
	q.alone = a.personal() || stale != nil && (stale.Flags&memory.Validate != 0 || a.marked([]byte(a.url)))
	h.fetch(w, q)
}

// Healthy reports whether what lies below could serve r now.
func (h *handler) Healthy(r *http.Request) bool { return health.Healthy(h.next, r) }

// Wraps returns what lies below.
func (h *handler) Wraps() []http.Handler { return []http.Handler{h.next} }

// errNotStored is why only-if-cached is answered 504.
var errNotStored = transit.Meant(errors.New("cache: not stored, and the request wants nothing else"))
