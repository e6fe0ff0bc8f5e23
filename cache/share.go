package cache

import (
	"context"
	"net/http"
	"time"

	"github.com/foretier/foretier/cache/internal/law"
	"github.com/foretier/foretier/cache/internal/memory"
	"github.com/foretier/foretier/internal/transit"
)

// fetch answers what q asks, from a fetch of its own or another's. It ends: a
// question that others' fetches do not answer is asked alone at last, and one
// that is asked alone is answered, or is once it is asked without conditions.
func (h *handler) fetch(w http.ResponseWriter, q question) {
	for {
		f, leads := h.flights.join(&q)
		if leads {
			h.launch(w, f, q)
		}
		n := h.use(w, q.ask, f, leads)
		switch n {
		case answered:
			return
		case noFetch:
			q.ask.release()
			h.pass(w, q.ask.r, q.ask, q.ask.reason, "no fetch to share")
			return
		}
		q = q.after(n, f)
	}
}

// launch begins the fetch of a flight that others may wait for already, and
// reports whether there is need of one.
func (h *handler) launch(w http.ResponseWriter, f *flight, q question) bool {
	if !q.alone && !q.refresh {
		// A fetch stores before it leaves its flight, so what one has brought since
		// q's request was looked up is there by now.
		if e := h.cache.store.Get([]byte(f.url), q.ask.fits); e != nil {
			q.ask.now = time.Now() // it may have waited, and e have been purged meanwhile
			if q.ask.use(e) == law.Fresh {
				h.flights.land(f, answer{kind: found, entry: e}) // released by find
				return false
			}
			h.cache.store.Release(e)
		}
	}
	if !h.start(f, q, w) {
		h.flights.land(f, answer{kind: closed})
		return false
	}
	return true
}

// use answers a from f, or says what else is to be done.
func (h *handler) use(w http.ResponseWriter, a *ask, f *flight, leads bool) next {
	defer h.flights.unwant(f)
	if leads {
		if !h.lead(w, a, f) {
			return answered
		}
	} else {
		switch h.await(a, f) {
		case waitGone:
			gone(w, a.r)
			return answered
		case waitLate:
			return askLater
		}
	}
	switch f.answer.kind {
	case shared, modified:
		return h.follow(w, a, f, leads)
	case covered:
		if !a.covers(f.answer.held) {
			return askItself
		}
		if !h.cover(w, a, f) {
			return askAlone
		}
	case again:
		return askPlainly
	case found:
		return h.find(w, a, f, leads)
	case closed:
		return noFetch
	default:
		return h.fail(w, a, f, leads)
	}
	return answered
}

// find serves what was stored before the backend was asked.
func (h *handler) find(w http.ResponseWriter, a *ask, f *flight, leads bool) next {
	e := f.answer.entry
	if !leads && !h.cache.store.TryRetain(e) {
		return askAnew
	}
	defer h.cache.store.Release(e) // which launch has taken hold of for its leader
	a.now = time.Now()             // as in launch
	if !leads && (!h.suits(a, f) || a.use(e) != law.Fresh) {
		return askAnew
	}
	h.cache.figures.collapsed.Add(1)
	h.note(a.r, note("miss: another's fetch"))
	h.serve(w, a, e, "")
	return answered
}

// fail answers with an error of the tier's own, if it is one for all.
func (h *handler) fail(w http.ResponseWriter, a *ask, f *flight, leads bool) next {
	if f.answer.kind == unlike || f.answer.cause == nil { // else it is private
		if a.bent() {
			return askItself
		}
		return askAlone
	}
	if f.answer.kind == failed {
		h.link(a, f)
		if leads && f.panicked != nil {
			panic(http.ErrAbortHandler)
		}
	}
	transit.Fail(w, a.r, f.answer.status, f.answer.cause)
	return answered
}

// suits reports whether a's request may be served from another's fetch: it
// selects the same variant, and no invalidation came between.
func (h *handler) suits(a *ask, f *flight) bool {
	e := f.answer.entry
	return !validatesAlways(e) && e.HTTPS == a.https && a.fits(e) && !h.cache.log.overtaken(f.position, e)
}

// lead waits until the leader's own fetch has a header, and for its end if the
// answer is the leader's alone. It reports false if nothing is left to do.
func (h *handler) lead(w http.ResponseWriter, a *ask, f *flight) bool {
	ctx := a.r.Context()
	select {
	case <-f.ready:
	case <-ctx.Done():
		if f.abandon() {
			gone(w, a.r)
			return false // the fetch may go on: see unwant
		}
	}
	if f.answer.kind != private {
		return true
	}
	stop := context.AfterFunc(ctx, func() { f.cancel(context.Cause(ctx)) })
	<-f.done
	stop()
	h.note(a.r, note("miss: "+f.answer.why))
	h.link(a, f)
	if f.panicked != nil {
		panic(http.ErrAbortHandler)
	}
	return false
}

type waitResult uint8

const (
	waitReady waitResult = iota
	waitLate
	waitGone
)

// await waits for the header of another's fetch.
func (h *handler) await(a *ask, f *flight) waitResult {
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

// gone leaves a client that has left: to return without a word would be an empty
// 200, and it may have closed its sending half only.
func gone(w http.ResponseWriter, r *http.Request) {
	transit.Fail(w, r, transit.StatusGone, context.Cause(r.Context()))
}

// follow serves a response from the fetch that brings it.
func (h *handler) follow(w http.ResponseWriter, a *ask, f *flight, leads bool) next {
	if !a.covers(f.answer.entry) {
		if leads && f.first != nil {
			f.first.close()
		}
		return askItself
	}
	if !leads && f.answer.forOne {
		return askAlone
	}
	if !leads && !h.suits(a, f) {
		return askApart
	}
	defer h.link(a, f)
	params := "; fwd=" + a.reason + "; fwd-status=" + itoa(f.answer.status)
	if !leads {
		params += "; collapsed"
		h.cache.figures.collapsed.Add(1)
		if h.cache.cutOff() { // it was asked for before what may have been invalidated since
			params += detail("stale: " + missed)
		}
	}
	served := false
	if f.answer.kind == modified {
		h.note(a.r, note("miss: validated"))
		e := f.answer.entry
		if leads && f.answer.merged != nil {
			e = f.answer.merged
		}
		served = h.serveHeld(w, a, f, e, params)
	} else {
		served = h.readAlong(w, a, f, leads, params+"; stored")
	}
	if !served {
		return askAlone // its beginning is gone: it is too large to be stored
	}
	return answered
}

// serveHeld serves e, which a fetch has validated or which covers its failure.
// The body, that of what was stored before, is counted where it is held. It
// reports false if by now nobody holds it; its leader does.
func (h *handler) serveHeld(w http.ResponseWriter, a *ask, f *flight, e *memory.Entry, params string) bool {
	held := e // if it has been stored, with its forms
	if !h.cache.store.TryRetain(held) {
		if held = f.answer.held; !h.cache.store.TryRetain(held) {
			return false
		}
	}
	defer h.cache.store.Release(held)
	h.serveEntry(w, a, e, held, []byte(params))
	return true
}

// cover serves what is stale in place of an error.
func (h *handler) cover(w http.ResponseWriter, a *ask, f *flight) bool {
	defer h.link(a, f)
	h.note(a.r, note("stale: "+f.answer.why))
	h.cache.figures.covered.Add(1)
	transit.From(a.r.Context()).Answered(int(f.answer.held.Status)) // for all that the fetch says
	return h.serveHeld(w, a, f, f.answer.held, "; fwd="+a.reason+detail("stale: "+f.answer.why))
}

// link shows what the fetch noted in the request's record, once it has ended. It waits
// for one that has failed, or has no body to come, which ends at once: without it the
// request's line would lack the cause. Of others nothing is shown that has not ended.
func (h *handler) link(a *ask, f *flight) {
	if k := f.answer.kind; k == failed || k == modified || k == covered && f.record.Cause() != nil {
		select {
		case <-f.done:
		case <-a.r.Context().Done():
		}
	}
	select {
	case <-f.done:
		transit.From(a.r.Context()).Link(&f.record.Journal)
	default:
	}
}
