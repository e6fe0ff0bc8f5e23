package cache

import (
	"errors"
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/foretier/foretier/cache/internal/memory"
	"github.com/foretier/foretier/internal/transit"
)

// ServeHTTP implements [http.Handler].
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	lesson := h.lesson(r)
	var buf [192]byte
	var a ask
	url, e, d := h.look(&a, r, buf[:0])
	a.found[0] = e
	defer a.release()
	if !h.hold(w, &a, url, e, d) {
		h.forward(w, r, &a, url, e, d)
		return
	}
	if lesson != nil && d.act == serveFresh {
		h.teach(lesson, &a, e)
	}
}

// hold answers from what is stored, if that is what is to be done.
func (h *handler) hold(w http.ResponseWriter, a *ask, url []byte, e *memory.Entry, d decision) bool {
	switch d.act {
	case serveFresh:
		h.cache.figures.hits.Add(1)
		if early(e, a.now) {
			h.refresh(a.detached(url), e)
		}
		h.noteHit(a.r)
		h.serve(w, a, e, d.detail)
	case serveInGrace:
		h.cache.figures.stale.Add(1)
		if h.cache.affords(e, a.now) {
			h.refresh(a.detached(url), e)
		}
		h.note(a.r, noteStale)
		h.serve(w, a, e, d.detail)
	case serveSick:
		h.cache.figures.stale.Add(1)
		h.refresh(a.detached(url), e)
		h.note(a.r, noteSick)
		h.serve(w, a, e, "backend is sick")
	default:
		return false
	}
	return true
}

// forward answers a request for which somebody below may have to be asked.
func (h *handler) forward(w http.ResponseWriter, r *http.Request, a *ask, url []byte, e *memory.Entry, d decision) {
	r, rec, made := transit.Enter(r)
	if made {
		defer transit.Log(h.cache.opts.Logger, h.cache.opts.Name, r, rec)
	}
	if d.act == passUnseen || d.act == passByRule {
		h.pass(w, r, nil, d.reason, d.why)
		return
	}
	b := a.detached(url)
	b.r = r
	b.found, a.found = a.found, b.found
	defer b.release()
	if d.act == fetchWhole && h.cache.second != nil && h.fill(b, e) {
		if e, d = b.again(); d.act == serveFresh {
			d.detail = "second level"
		}
		if h.hold(w, b, url, e, d) {
			return
		}
	}
	h.cache.figures.misses.Add(1)
	h.miss(w, b, e, d)
}

// fill looks into the second level for what memory has not, but e to be validated,
// unless a fetch brings it already.
func (h *handler) fill(a *ask, e *memory.Entry) bool {
	q := question{ask: a}
	if e != nil {
		if e.Flags&memory.Validate != 0 {
			return false // nor is it in the second level
		}
		q.selecting = selectingOf(e)
	}
	return !h.flights.underWay(&q) && h.cache.second.fill(a)
}

// again decides anew what is done for a, once memory may have something new.
func (a *ask) again() (e *memory.Entry, d decision) {
	a.release()
	url := []byte(a.url)
	a.now = time.Now()
	e = a.site.cache.store.Get(url, a.fits)
	a.found[0] = e
	return e, decide(a.situation(e, url))
}

// early reports whether a fresh response is to be refreshed already: by chance,
// the more likely the nearer its end and the longer it takes to fetch (Vattani
// et al., Optimal Probabilistic Cache Stampede Prevention, VLDB 2015). What is
// asked for often is so never found stale.
func early(e *memory.Entry, now time.Time) bool {
	cost, left, may := nearEnd(e, now)
	return may && left < time.Duration(float64(cost)*rand.ExpFloat64())
}

// nearEnd returns how long e took to fetch and has left, and whether that is so
// little that it may be refreshed.
func nearEnd(e *memory.Entry, now time.Time) (cost, left time.Duration, may bool) {
	cost = time.Duration(e.Cost) * time.Millisecond
	left = time.Duration(e.FreshUntil - now.UnixNano())
	return cost, left, left <= 10*cost && left <= time.Duration(e.FreshUntil-e.Born)/10
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
		a.release()
		h.pass(w, a.r, a, d.reason, d.why)
		return
	}
	h.fetch(w, a.question(stale, d))
}

// question returns what a fetch is to ask for a, by d, of which stale is stored.
func (a *ask) question(stale *memory.Entry, d decision) question {
	if d.act == fetchPart {
		a.partial, stale = true, nil
	}
	q := question{ask: a, stale: stale}
	if stale == nil {
		if q.begun = a.beginning(); q.begun != nil {
			a.found[1] = q.begun
			a.reason = "partial"
		}
	} else {
		q.selecting, _ = stale.Vary()
	}
	q.alone = a.apart() || stale != nil && (stale.Flags&memory.Validate != 0 || a.marked([]byte(a.url)))
	return q
}

// errNotStored is why only-if-cached is answered 504.
var errNotStored = transit.Meant(errors.New("cache: not stored, and the request wants nothing else"))
