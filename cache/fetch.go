package cache

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/foretier/foretier/cache/internal/law"
	"github.com/foretier/foretier/cache/internal/memory"
	"github.com/foretier/foretier/internal/fields"
	"github.com/foretier/foretier/internal/transit"
)

// A fetch asks the backend once, on a context of its own, for all who wait. It
// has a goroutine of its own, which owns the fields without a lock. What others
// see of it is its flight.
type fetch struct {
	*flight
	question // the leader's, with a copy of its request
	h        *handler
	request  *http.Request
	ctx      context.Context
	budget   *time.Timer
	limit    time.Duration // how long budget runs
	asked    time.Time

	header  http.Header // what next fills
	wrote   bool        // a final header came
	written int64
}

// start begins the fetch of a flight; w is where an answer that is the leader's
// alone goes, nil for a refresh. It reports false if the cache is closed.
func (h *handler) start(fl *flight, q question, w http.ResponseWriter) bool {
	c := h.cache
	f := &fetch{flight: fl, question: q, h: h, asked: time.Now(), header: make(http.Header)}
	fl.leader = w
	fl.body.store = c.store
	ctx, record := transit.Detach(q.ask.r.Context())
	fl.record = record
	record.Storable = f.storable
	f.ctx, fl.cancel = context.WithCancelCause(context.WithValue(ctx, dependsKey{}, new(depends)))
	// A rule that gives the backend longer for its header gives it to the fetch.
	f.limit = max(c.opts.Fetch, record.Terms.Header)
	if record.Terms.Header < 0 {
		f.limit = time.Hour
	}
	// What the client's request holds may change once it has been answered.
	f.ask = q.ask.clone(f.ctx)
	f.request = f.question.request(f.ctx)
	if !c.running.add(&fl.task) {
		fl.cancel(errClosed)
		return false
	}
	for _, e := range [...]*memory.Entry{f.stale, f.begun} {
		if e != nil {
			c.store.Retain(e)
		}
	}
	c.figures.fetches.Add(1)
	c.most.fetch(f.asked, fl.url)
	f.budget = time.AfterFunc(f.limit, f.overtime)
	go f.run()
	return true
}

// overtime ends a fetch whose time is up, unless somebody is reading along.
func (f *fetch) overtime() {
	if f.published() {
		if f.answer.kind == private {
			return
		}
		if f.body.reading() {
			f.budget.Reset(time.Second)
			return
		}
	}
	f.cancel(fmt.Errorf("cache: fetch took longer than %v: %w", f.limit, context.DeadlineExceeded))
}

// run calls next and does what comes of it.
func (f *fetch) run() {
	defer f.h.cache.running.remove(&f.task)
	defer f.release()
	defer close(f.done)
	defer f.cancel(context.Canceled)
	defer f.budget.Stop()
	defer f.h.flights.retire(f.flight)
	err := f.call()
	if err == nil && f.ctx.Err() != nil {
		err = context.Cause(f.ctx) // it may have returned for that reason
	}
	if !f.published() {
		f.record.Fail(err)
		f.settle(f.failure(err, time.Now()))
	}
	switch f.answer.kind {
	case private:
		if f.leader != nil {
			copyTrailers(f.leader.Header(), f.header)
		}
	case shared:
		err = f.finish(err)
	}
	if f.refreshes && !f.stored {
		f.tell(err)
	}
}

// tell logs why a refresh has failed, which has ended with err: what is stored
// grows old, and no request says so. What is only not stored has not failed.
func (f *fetch) tell(err error) {
	cause := f.record.Cause()
	switch {
	case cause != nil:
	case f.answer.status >= 500:
		cause = fmt.Errorf("the backend answered %d", f.answer.status)
	case f.answer.kind == shared:
		cause = err
	}
	c := f.h.cache
	if cause == nil || errors.Is(cause, errClosed) {
		return
	}
	others, ok := c.refreshes.Allow(time.Now())
	if !ok {
		return
	}
	c.opts.Logger.LogAttrs(context.Background(), slog.LevelWarn, "refresh failed", slog.String("part", c.opts.Name),
		slog.String("host", f.request.Host), slog.String("target", transit.Clip(f.request.URL.RequestURI())),
		slog.Int("status", f.answer.status), slog.String("cause", cause.Error()), slog.Int("others", others))
}

// finish stores a shared response, if it is whole, and tells all who read along. It
// returns why it was not whole.
func (f *fetch) finish(err error) error {
	if err == nil {
		err = f.whole()
	}
	if err == nil {
		f.stored = f.store()
	}
	f.trailer = f.header
	f.h.flights.retire(f.flight) // what has ended is found in the store, or asked for anew
	f.body.end(err)
	f.body.release()
	return err
}

// release gives back what the fetch held: its place among the refreshes, and what
// was stored before.
func (f *fetch) release() {
	if f.refreshes {
		<-f.h.refreshing
	}
	f.turn.end()
	if f.stale != nil && !f.stored && (f.refreshes || f.answer.kind == covered) && context.Cause(f.ctx) != errNobody {
		f.stale.Rest(time.Now().Add(time.Second)) // no hammering
	}
	f.releaseStored()
}

// releaseStored releases what was stored before.
func (f *fetch) releaseStored() {
	for _, e := range [...]**memory.Entry{&f.stale, &f.begun} {
		if *e != nil {
			f.h.cache.store.Release(*e)
			*e = nil
		}
	}
}

// call runs next and recovers what it panics with, and what a rule does that is
// asked about its answer: a fetch must not end the process, which net/http would
// not either.
func (f *fetch) call() (err error) {
	defer func() {
		v := recover()
		if v == nil {
			return
		}
		f.panicked = v
		err = errAborted
		if v != http.ErrAbortHandler {
			err = fmt.Errorf("cache: panic: %v", v)
			f.h.cache.opts.Logger.Error("cache: the handler panicked", "panic", v,
				"url", f.request.URL.Path, "stack", string(debug.Stack()))
		}
	}()
	f.h.next.ServeHTTP((*fetchWriter)(f), f.request)
	if !f.wrote && f.ctx.Err() == nil {
		f.WriteHeader(http.StatusOK)
	}
	return nil
}

// whole reports why the body cannot be taken for whole, or nil.
func (f *fetch) whole() error {
	switch {
	case f.record.Unproven:
		return errAborted
	case f.answer.length >= 0 && f.written != f.answer.length:
		return fmt.Errorf("%w: %d of %d bytes", errAborted, f.written, f.answer.length)
	}
	return nil
}

// WriteHeader is called by next through [fetchWriter].
func (f *fetch) WriteHeader(status int) {
	if f.wrote {
		return // an interim one too: the leader's writer is the leader's by now
	}
	if status < 200 && status != http.StatusSwitchingProtocols {
		f.interim(status)
		return
	}
	f.wrote = true
	f.settle(f.read(response{
		request: f.request, asked: f.asked, now: time.Now(),
		status: status, header: f.header, cause: f.record.Cause(), unproven: f.record.Unproven,
	}))
}

// settle does what an answer brings with it, and publishes it.
func (f *fetch) settle(an answer) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if an.kind == shared && !f.body.expect(max(an.length, 0)) {
		an = f.roomless(an)
	}
	f.remark(an)
	switch an.kind {
	case shared:
		f.share(an)
	case private:
		f.passOn(an)
	case modified:
		if an.renewed != nil {
			f.stored = f.h.cache.keep(f.ask, f.position, an.renewed, 0)
		}
	case again, unlike:
		if an.cause != nil {
			f.cancel(an.cause)
		}
	}
	f.publish(an)
}

// remark remembers of the key what an answer says of those to come.
func (f *fetch) remark(an answer) {
	c, key := f.h.cache, f.ask.marker([]byte(f.url))
	if an.unmark {
		c.markers.clear(key)
	}
	if an.mark > 0 {
		c.markers.set(key, time.Now().Add(an.mark))
	}
}

// share has the body read along and stored.
func (f *fetch) share(an answer) {
	f.ask.countAgents(an.entry)
	if f.leader != nil {
		f.first = f.body.read() // now: later the beginning may be gone
	}
	if f.begun != nil && an.completes {
		for _, chunk := range f.begun.Chunks() {
			_ = f.body.write(f.ctx, chunk, f.h.cache.opts.MaxBody) // there is room: see expect
		}
		f.written = f.begun.Len()
	}
	f.forget()
}

// passOn begins to write a response that is the leader's alone to its client.
func (f *fetch) passOn(an answer) {
	f.forget()
	f.h.cache.reasons.count(an.why)
	f.h.cache.most.keep(time.Now(), f.url, an.why)
	an.retention.rewriteOwn(f.header)
	f.budget.Stop()
	if f.leader == nil {
		f.cancel(errNobody)
		return
	}
	h := f.leader.Header()
	for name, values := range f.header {
		h[name] = values
	}
	f.h.cache.addStatus(h, "; fwd="+f.ask.reason+"; fwd-status="+strconv.Itoa(an.status)+detail(an.why))
	f.leader.WriteHeader(an.status)
}

// forget gives back what was stored before, which is of no more use: how long the
// fetch goes on may be for a slow client to say.
func (f *fetch) forget() {
	if !f.refreshes { // which still has to say whether it may be tried again
		f.releaseStored()
	}
}

// interim passes a 1xx on to the leader; it is nobody else's and never stored
// (RFC 9110, section 15.2).
func (f *fetch) interim(status int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.leader == nil {
		return
	}
	h := f.leader.Header()
	above := h.Clone() // what the layers above have put there is for the answer
	clear(h)
	maps.Copy(h, f.header)
	f.leader.WriteHeader(status)
	clear(h)
	maps.Copy(h, above)
}

// storable is asked by the pool, through the record, before it pins a visitor.
func (f *fetch) storable(status int, h http.Header) bool {
	if status == http.StatusNotModified {
		if f.stale == nil {
			return false
		}
		status, h = int(f.stale.Status), law.Update(f.stale.Header(), h)
	}
	retention, j := f.ask.judge(f.request, status, h, f.asked, time.Now())
	return retention.Store && worthKeeping(retention, j, h)
}

// store stores the response, which is whole, and reports whether there was room.
func (f *fetch) store() bool {
	chunks, reserved, ok := f.body.handOver()
	if !ok {
		if f.written > f.h.cache.opts.MaxBody { // else for want of room, which passes
			f.remark(answer{mark: f.markFor(f.answer.status, f.header)})
		}
		return false
	}
	length := int64(-1)
	if f.answer.length < 0 {
		length = f.written
	}
	e := f.answer.entry.Whole(chunks, length)
	if e.Len() < fields.MinCoded {
		e.Flags &^= memory.Codable
	}
	f.h.cache.store.Retain(e) // for those who read along, stored or not
	stored := f.h.cache.keep(f.ask, f.position, e, reserved)
	f.body.storedAs(e)
	if stored {
		f.h.cache.choose(e, f.ask.r.Header)
	}
	return stored
}

// fetchWriter is the ResponseWriter of a fetch.
type fetchWriter fetch

// Header implements [http.ResponseWriter].
func (w *fetchWriter) Header() http.Header { return w.header }

// WriteHeader implements [http.ResponseWriter].
func (w *fetchWriter) WriteHeader(status int) { (*fetch)(w).WriteHeader(status) }

// Write implements [http.ResponseWriter].
func (w *fetchWriter) Write(p []byte) (int, error) {
	f := (*fetch)(w)
	if !f.wrote {
		f.WriteHeader(http.StatusOK)
	}
	f.written += int64(len(p))
	switch f.answer.kind {
	case shared:
		if f.answer.length >= 0 && f.written > f.answer.length {
			return 0, http.ErrContentLength
		}
		if err := f.body.write(f.ctx, p, f.h.cache.opts.MaxBody); err != nil {
			return 0, err
		}
	case private:
		if f.leader != nil {
			return f.leader.Write(p)
		}
	}
	return len(p), nil
}

// FlushError implements the method that [http.ResponseController] looks for.
func (w *fetchWriter) FlushError() error {
	f := (*fetch)(w)
	if !f.wrote {
		f.WriteHeader(http.StatusOK)
	}
	if f.answer.kind == private && f.leader != nil {
		return http.NewResponseController(f.leader).Flush()
	}
	return nil
}

// Flush implements [http.Flusher].
func (w *fetchWriter) Flush() { _ = w.FlushError() }

// Unwrap returns the leader's writer once the response is the leader's alone.
func (w *fetchWriter) Unwrap() http.ResponseWriter {
	if w.wrote && w.answer.kind == private && w.leader != nil {
		return w.leader
	}
	return nil
}
