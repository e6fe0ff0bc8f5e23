package cache

import (
	"context"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/foretier/foretier/cache/internal/memory"
	"github.com/foretier/foretier/internal/transit"
)

// fetch answers a from a fetch of its own or another's.
func (h *handler) fetch(w http.ResponseWriter, a *ask, stale *memory.Entry) {
	conditional, selecting := true, ""
	alone := a.personal() || stale != nil && (stale.Flags&memory.Validate != 0 || a.marked([]byte(a.url)))
	if stale != nil {
		selecting, _ = stale.Vary()
	}
	var late *fetch // one whose header did not come in time
	for range 8 {
		f, leads, stored := h.flights.join(h, w, a, stale, a.key(selecting), conditional, alone, late)
		if stored != nil {
			defer h.cache.store.Release(stored)
			h.cache.figures.collapsed.Add(1)
			h.note(a.r, note("miss: another's fetch"))
			h.serve(w, a, stored, "")
			return
		}
		if f == nil { // closed
			break
		}
		next, done := h.use(w, a, f, leads)
		if done {
			return
		}
		if next.late {
			late = f
		}
		if next.whole {
			selecting, stale = next.selecting, nil
		}
		alone = alone || next.alone
		conditional = conditional && !next.again
	}
	a.letGo()
	h.pass(w, a.r, a, a.reason, "no fetch to share")
}

// A next is what is to be done by a request that a fetch did not answer.
type next struct {
	late      bool   // not to wait for this fetch again
	alone     bool   // to ask for itself
	again     bool   // without conditions
	whole     bool   // not to validate what is stored
	selecting string // what its responses differ by, if whole
}

// use answers a from f, or says what else is to be done.
func (h *handler) use(w http.ResponseWriter, a *ask, f *fetch, leads bool) (n next, done bool) {
	defer h.flights.unwant(f)
	if !leads {
		switch h.await(a, f) {
		case waitGone:
			gone(w, a.r)
			return n, true
		case waitLate:
			n.late = true
			return n, false
		}
	} else if !h.lead(w, a, f) {
		return n, true
	}
	switch f.outcome {
	case shared, modified:
		if !leads && f.alone {
			n.alone = true
			return n, false
		}
		if !leads && !f.suits(a) {
			n.whole, n.selecting, n.alone = true, selectingOf(f.entry), f.validatesAlways()
			return n, false
		}
		if !h.join(w, a, f, leads) {
			n.alone = true // its beginning is gone: it is too large to be stored
			return n, false
		}
	case private:
		if f.cause == nil {
			n.alone = true
			return n, false
		}
		transit.Fail(w, a.r, f.status, f.cause)
	case covered:
		n.alone = true
		return n, h.cover(w, a, f)
	case failed:
		if leads && f.panicked != nil {
			panic(http.ErrAbortHandler)
		}
		h.link(a, f)
		transit.Fail(w, a.r, f.status, f.cause)
	case again:
		n.again = true
		return n, false
	}
	return n, true
}

// suits reports whether a's request may be served from another's fetch: it
// selects the same variant, and no invalidation came between.
func (f *fetch) suits(a *ask) bool {
	if f.validatesAlways() {
		return false
	}
	return f.entry.HTTPS == a.https && a.fits(f.entry) && !f.h.cache.log.overtaken(f.position, f.entry)
}

// selectingOf returns the fields on which what is stored varies.
func selectingOf(e *memory.Entry) string {
	selecting, _ := e.Vary()
	return selecting
}

// validatesAlways reports whether what f brought serves its leader only: each
// of the others has to validate it.
func (f *fetch) validatesAlways() bool { return f.entry.Flags&memory.Validate != 0 }

// lead waits until the leader's own fetch has a header, and for its end if the
// answer is the leader's alone. It reports false if nothing is left to do.
func (h *handler) lead(w http.ResponseWriter, a *ask, f *fetch) bool {
	ctx := a.r.Context()
	select {
	case <-f.ready:
	case <-ctx.Done():
		if f.abandon() {
			gone(w, a.r)
			return false // the fetch may go on: see unwant
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

// gone leaves a client that has left: to return without a word would be an empty
// 200, and it may have closed its sending half only.
func gone(w http.ResponseWriter, r *http.Request) {
	transit.Fail(w, r, transit.StatusGone, context.Cause(r.Context()))
}

// join serves a response from the fetch that brings it.
func (h *handler) join(w http.ResponseWriter, a *ask, f *fetch, leads bool) bool {
	defer h.link(a, f)
	params := "; fwd=" + a.reason + "; fwd-status=" + itoa(f.status)
	if !leads {
		params += "; collapsed"
		h.cache.figures.collapsed.Add(1)
	}
	if f.outcome == modified {
		h.note(a.r, note("miss: validated"))
		e := f.entry
		if leads && f.merged != nil {
			e = f.merged
		}
		return h.serveHeld(w, a, f, e, params)
	}
	reader := f.first
	if !leads {
		reader = f.body.read()
	}
	if reader == nil {
		return false
	}
	a.letGo() // a slow client need not keep what it is not sent
	l := lend(w, a.r)
	defer l.end()
	defer reader.close()
	reader.attach(l)
	if h.serveNotModified(w, a, f.entry, []byte(params+"; stored")) {
		h.note(a.r, note("miss: not modified"))
		return true
	}
	header := w.Header()
	answer := f.answer
	if leads && f.own != nil {
		answer = f.own
	}
	for name, values := range answer {
		header[name] = values[:len(values):len(values)]
	}
	if !leads || f.aged {
		// Age says that the origin was not asked for this request.
		header["Age"] = []string{strconv.FormatInt(f.entry.Age(time.Now()), 10)}
	}
	h.cache.addStatus(header, params+"; stored")
	w.WriteHeader(f.status)
	flusher := http.NewResponseController(w)
	for {
		p, err := reader.next(a.r.Context())
		if err == nil {
			l.Moved(time.Now().UnixNano())
			if _, err = l.Write(p); err != nil {
				h.note(a.r, note("miss: the client left"))
				panic(http.ErrAbortHandler)
			}
			if f.length < 0 {
				_ = flusher.Flush() // a writer that cannot is none the worse
			}
			continue
		}
		if err == errLeft {
			have := reader.left
			reader.close()
			h.rest(w, a, f, have)
			return true
		}
		if a.r.Context().Err() == nil {
			<-f.done // at once; then its record may be linked
		}
		switch {
		case err != io.EOF:
			h.note(a.r, note("miss: cut off"))
			panic(http.ErrAbortHandler) // the client must not take it for whole
		case leads && f.stored:
			h.note(a.r, note("miss: stored"))
		case leads:
			h.note(a.r, note("miss: too large, or purged meanwhile"))
		default:
			h.note(a.r, note("miss: another's fetch"))
		}
		if leads { // they came too late to be judged, as Set-Cookie is
			copyTrailers(header, f.header)
		}
		return true
	}
}

// serveHeld serves e, which a fetch has validated or which covers its failure.
// The body, that of what was stored before, is counted where it is held. It
// reports false if by now nobody holds it; its leader does.
func (h *handler) serveHeld(w http.ResponseWriter, a *ask, f *fetch, e *memory.Entry, params string) bool {
	held := f.stale
	if !h.cache.store.TryRetain(held) {
		if held = e; !h.cache.store.TryRetain(held) {
			return false
		}
	}
	defer h.cache.store.Release(held)
	h.serveEntry(w, a, e, held, []byte(params))
	return true
}

// cover serves what is stale in place of an error.
func (h *handler) cover(w http.ResponseWriter, a *ask, f *fetch) bool {
	defer h.link(a, f)
	h.note(a.r, note("stale: "+f.why))
	h.cache.figures.covered.Add(1)
	return h.serveHeld(w, a, f, f.stale, "; fwd="+a.reason+detail("stale: "+f.why))
}

// link shows what the fetch noted in the request's record, once it has ended.
func (h *handler) link(a *ask, f *fetch) {
	select {
	case <-f.done:
		transit.From(a.r.Context()).Link(f.record)
	default:
	}
}

// refresh fetches anew what is stored, behind the client's back, unless that is
// under way or too many are.
func (h *handler) refresh(a *ask, e *memory.Entry) {
	if !e.Refresh(a.now, h.cache.opts.Fetch) {
		return
	}
	select {
	case h.refreshing <- struct{}{}:
	default:
		e.Refreshed()
		return
	}
	a.reason = "stale"
	selecting, _ := e.Vary()
	a.anonymous(selecting)
	f, leads, _ := h.flights.join(h, nil, a, e, a.key(selecting), true, false, nil)
	if f != nil && !leads {
		h.flights.unwait(f)
	}
	if f == nil || !leads {
		<-h.refreshing
	}
}
