package cache

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"runtime/debug"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/foretier/foretier/cache/internal/law"
	"github.com/foretier/foretier/cache/internal/memory"
	"github.com/foretier/foretier/internal/fields"
	"github.com/foretier/foretier/internal/transit"
)

// An outcome is what a fetch turned out to be, known once its header has come.
type outcome uint8

const (
	pending  outcome = iota
	shared           // it is being stored; everybody reads along
	private          // not to be stored: it is its leader's alone
	modified         // a 304 for what is stored: entry has been updated
	covered          // an error in whose place the stale entry is served
	failed           // an error of the tier's own, the same for everybody
	again            // a 304 for something else: to be asked without conditions
)

var (
	// errAborted ends a response whose end never came.
	errAborted = errors.New("cache: the response was cut off")
	// errNotTheRest ends the fetch of a rest that does not belong to the stored
	// beginning.
	errNotTheRest = errors.New("cache: not the rest of what is stored")
)

// A fetch asks the backend once, on a context of its own, for all who wait.
//
// It has a goroutine of its own, which owns the fields without a lock; what
// stands below ready is set before ready is closed and not changed after.
type fetch struct {
	h         *handler
	ask       *ask // the leader's
	key       string
	request   *http.Request
	ctx       context.Context
	cancel    context.CancelCauseFunc
	budget    *time.Timer
	limit     time.Duration // how long budget runs
	position  Position      // before the backend was asked
	asked     time.Time
	stale     *memory.Entry // what is stored already; may be nil
	begun     *memory.Entry // the beginning that is being completed; may be nil
	record    *transit.Record
	refreshes bool // nobody waits: it holds a place among the refreshing

	header  http.Header // what next fills
	wrote   bool        // a final header came
	length  int64       // Content-Length; -1 if unknown
	written int64

	wanted int  // guarded by flights.mu: how many would use what comes
	orphan bool // guarded by flights.mu: it goes on for nobody
	over   bool // guarded by flights.mu: it has ended

	mu     sync.Mutex
	leader http.ResponseWriter // nil once the leader has left; guarded by mu
	gone   bool                // the leader has left; guarded by mu

	ready   chan struct{} // closed when what follows is set
	outcome outcome
	status  int
	answer  http.Header   // of a shared response
	own     http.Header   // the same for the leader, if some of it is for it only
	merged  *memory.Entry // modified: as the leader gets it, if that is not entry
	alone   bool          // modified: what the 304 said is for the leader only
	aged    bool          // it came with an Age
	verdict Verdict
	entry   *memory.Entry // shared: as it will be stored; modified: as updated
	body    stream
	first   *reader // the leader's
	why     string
	cause   error // of an error of the tier's own

	done     chan struct{} // closed when next has returned and the rest is settled
	panicked any           // what next panicked with; set before done
	stored   bool          // set before done
}

// start begins a fetch for a; w is where an answer that is the leader's alone
// goes, nil for a refresh. It returns nil if the cache is closed.
func (h *handler) start(a *ask, w http.ResponseWriter, stale *memory.Entry, key string, conditional bool) *fetch {
	c := h.cache
	f := &fetch{
		h: h, key: key, stale: stale, leader: w, gone: w == nil, refreshes: w == nil,
		position: c.log.head(), asked: time.Now(), length: -1,
		header: make(http.Header),
		ready:  make(chan struct{}), done: make(chan struct{}),
	}
	f.body.store = c.store
	if w != nil {
		f.wanted = 1
	}
	ctx, record := transit.From(a.r.Context()).Detach(a.r.Context())
	f.record = record
	record.Storable = f.storable
	f.ctx, f.cancel = context.WithCancelCause(context.WithValue(ctx, dependsKey{}, new(depends)))
	// A rule that gives the backend longer for its header gives it to the fetch.
	f.limit = max(c.opts.Fetch, record.Terms.Header)
	if record.Terms.Header < 0 {
		f.limit = time.Hour
	}
	f.budget = time.AfterFunc(f.limit, f.overtime)
	// What the client's request holds may change once it has been answered.
	f.ask = a.clone(f.ctx)
	f.request = f.ask.fetchRequest(f.ctx, stale, conditional)
	if !c.running.add(f) {
		f.budget.Stop()
		f.cancel(errClosed)
		return nil
	}
	if stale != nil {
		c.store.Retain(stale)
	}
	if a.begun != nil && conditional {
		f.begun = a.begun
		c.store.Retain(f.begun)
	}
	go f.run()
	return f
}

// overtime ends a fetch whose time is up, unless somebody is reading along.
func (f *fetch) overtime() {
	select {
	case <-f.ready:
		if f.outcome == private {
			return
		}
		if f.body.reading() {
			f.budget.Reset(time.Second)
			return
		}
	default:
	}
	f.cancel(fmt.Errorf("cache: fetch took longer than %v: %w", f.limit, context.DeadlineExceeded))
}

// run calls next and settles what came of it.
func (f *fetch) run() {
	defer f.h.cache.running.remove(f)
	defer f.leave()
	defer close(f.done)
	defer f.cancel(context.Canceled)
	defer f.budget.Stop()
	defer f.h.flights.leave(f)
	err := f.call()
	if err == nil && f.ctx.Err() != nil {
		err = context.Cause(f.ctx) // it may have returned for that reason
	}
	if err == nil && !f.wrote {
		f.WriteHeader(http.StatusOK)
	}
	if f.outcome == pending {
		f.fail(err)
	}
	if f.outcome == private && !f.gone {
		copyTrailers(f.leader.Header(), f.header)
	}
	if f.outcome != shared {
		return
	}
	if err == nil {
		err = f.whole()
	}
	if err == nil {
		f.stored = f.keep()
	}
	f.h.flights.leave(f) // what has ended is found in the store, or asked for anew
	f.body.end(err)
	f.body.give()
}

// leave gives back what the fetch held.
func (f *fetch) leave() {
	if f.begun != nil {
		f.h.cache.store.Release(f.begun)
	}
	if f.stale == nil {
		return
	}
	if f.refreshes {
		<-f.h.refreshing
	}
	if !f.stored && (f.refreshes || f.outcome == covered) && context.Cause(f.ctx) != errNobody {
		f.stale.Rest(time.Now().Add(time.Second)) // no hammering
	}
	f.h.cache.store.Release(f.stale)
}

// call runs next and recovers what it panics with: a fetch must not end the
// process, which net/http would not either.
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
	return nil
}

// whole reports why the body cannot be taken for whole, or nil.
func (f *fetch) whole() error {
	switch {
	case f.record != nil && f.record.Unproven:
		return errAborted
	case f.length >= 0 && f.written != f.length:
		return fmt.Errorf("%w: %d of %d bytes", errAborted, f.written, f.length)
	}
	return nil
}

// fail settles a fetch that ended without a header.
func (f *fetch) fail(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.record.Fail(err)
	f.why, f.cause, f.status = "failed", err, http.StatusBadGateway
	if errors.Is(err, context.DeadlineExceeded) {
		f.status = http.StatusGatewayTimeout
	}
	f.outcome = failed
	if f.stale != nil && f.ask.mayCover(f.stale) {
		f.outcome = covered
	}
	close(f.ready)
}

// WriteHeader is called by next through [fetchWriter].
func (f *fetch) WriteHeader(status int) {
	if status < 200 && status != http.StatusSwitchingProtocols {
		f.interim(status)
		return
	}
	if f.wrote {
		return
	}
	f.wrote = true
	f.mu.Lock()
	defer f.mu.Unlock()
	f.settle(status)
	f.forget()
	if f.outcome == private {
		f.budget.Stop()
		if f.gone {
			f.cancel(errNobody)
		} else {
			f.begin(f.leader, status)
		}
	}
	close(f.ready)
}

// interim passes a 1xx on to the leader; it is nobody else's and never stored
// (RFC 9110, section 15.2).
func (f *fetch) interim(status int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.gone {
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

// begin writes the head of a response that is the leader's alone.
func (f *fetch) begin(w http.ResponseWriter, status int) {
	h := w.Header()
	for name, values := range f.header {
		h[name] = values
	}
	f.h.cache.addStatus(h, "; fwd="+f.ask.reason+"; fwd-status="+strconv.Itoa(status)+detail(f.why))
	w.WriteHeader(status)
}

// settle decides what the response is.
func (f *fetch) settle(status int) {
	now := time.Now()
	f.status = status
	f.length = contentLength(f.header)
	c := f.h.cache
	switch {
	case f.record.Cause() != nil:
		f.why, f.cause = "error of the tier", f.record.Cause()
		f.outcome = private
		if f.stale != nil && f.ask.mayCover(f.stale) {
			f.outcome = covered
		}
		return
	case status == http.StatusNotModified && f.stale != nil && f.conditional():
		if !law.Validates(f.stale.Header(), f.header) {
			f.outcome = again
			return
		}
		f.update(now)
		return
	case status >= 500 && f.stale != nil && f.ask.mayCover(f.stale):
		f.why = "status " + strconv.Itoa(status)
		f.outcome = covered
		return
	}
	answer := f.header.Clone()
	fields.RemoveHopByHop(answer)
	completes := f.begun != nil && (status == http.StatusPartialContent || status == http.StatusRequestedRangeNotSatisfiable)
	if completes {
		var ok bool
		if answer, f.length, ok = combined(f.begun, answer); !ok {
			f.again(errNotTheRest)
			return
		}
		status = http.StatusOK
		f.status = status
	}
	verdict, j := f.ask.judge(f.request, status, answer, f.asked, now)
	f.verdict, f.why = verdict, verdict.Why
	keep := verdict.Store && worthKeeping(verdict, j, answer)
	switch {
	case verdict.Store && !keep:
		f.why = "no lifetime"
	case !keep:
	case f.request.Header["Range"] != nil && status != http.StatusOK && status != http.StatusPartialContent:
		f.why, keep = "answers a range", false
	case f.record.Unproven:
		f.why, keep = "end of the body unknown", false
	case len(f.header["Trailer"]) > 0:
		f.why, keep = "trailers", false
	case f.length > c.opts.MaxBody:
		f.why, keep = "too large", false
	case !f.body.expect(max(f.length, 0)):
		f.why, keep = noRoom, false
	}
	if !keep && completes { // its leader has asked for the whole
		f.body.give()
		f.again(errNotTheRest)
		return
	}
	if !keep {
		f.outcome = private
		for _, name := range verdict.Strip {
			f.header.Del(name)
		}
		if f.why != noRoom { // which passes
			f.mark(status, now)
		}
		return
	}
	c.markers.clear(f.ask.marker([]byte(f.ask.url)))
	f.aged = answer["Age"] != nil
	if len(j.Private) > 0 {
		f.own = answer.Clone()
	}
	f.answer = answer
	f.entry = f.ask.entry(status, answer, verdict, j, f.asked, now)
	if completes {
		keepTags(f.entry, f.begun)
	}
	f.h.countAgents(f.ask, f.entry)
	if status == http.StatusPartialContent && !f.ask.part(f.entry, answer, f.length) {
		f.why, f.outcome = "a part of unknown place or size", private
		f.body.give()
		return
	}
	if !f.gone {
		f.first = f.body.read() // now: later the beginning may be gone
	}
	if completes {
		for _, chunk := range f.begun.Chunks() {
			_ = f.body.write(f.ctx, chunk, c.opts.MaxBody) // there is room: see expect
		}
		f.written = f.begun.Len()
	}
	f.outcome = shared
}

// forget gives back what was stored before, once it is of no more use: how long
// the fetch goes on may be for a slow client to say.
func (f *fetch) forget() {
	if f.refreshes || f.outcome != private && f.outcome != shared {
		return
	}
	for _, e := range [...]**memory.Entry{&f.stale, &f.begun} {
		if *e != nil {
			f.h.cache.store.Release(*e)
			*e = nil
		}
	}
	f.ask.begun = nil
}

// noRoom is why a response is not stored that the store had no room for.
const noRoom = "no room"

// again settles a fetch whose conditions were in vain: all who wait ask without.
func (f *fetch) again(why error) {
	f.outcome = again
	f.cancel(why)
}

// mark remembers that the key is not to be stored.
func (f *fetch) mark(status int, now time.Time) {
	d := 2 * time.Minute
	if status >= 500 {
		d = time.Second
	}
	if !f.ask.personal() && !f.ask.partial && !law.OfRequest(status, f.header) && !law.Provoked(status) { // what holds for theirs need not hold for others
		f.h.cache.markers.set(f.ask.marker([]byte(f.ask.url)), now.Add(d))
	}
}

// storable is asked by the pool, through the record, before it pins a visitor.
func (f *fetch) storable(status int, h http.Header) bool {
	if status == http.StatusNotModified {
		if f.stale == nil {
			return false
		}
		status, h = int(f.stale.Status), law.Update(f.stale.Header(), h)
	}
	verdict, j := f.ask.judge(f.request, status, h, f.asked, time.Now())
	return verdict.Store && worthKeeping(verdict, j, h)
}

// conditional reports whether the backend was asked to validate.
func (f *fetch) conditional() bool {
	return f.request.Header["If-None-Match"] != nil || f.request.Header["If-Modified-Since"] != nil
}

// update puts what a 304 says into what is stored (RFC 9111, section 4.3.4).
// The result is asked whatever a response is asked that comes whole: what sets
// a cookie, or is private by now, is its leader's alone, and the others ask for
// themselves.
func (f *fetch) update(now time.Time) {
	answer := law.Update(f.stale.Header(), f.header)
	verdict, j := f.ask.judge(f.request, int(f.stale.Status), answer, f.asked, now)
	f.outcome = modified
	f.verdict, f.alone = verdict, !verdict.Store
	if !f.alone {
		f.h.cache.markers.clear(f.ask.marker([]byte(f.ask.url)))
	}
	if f.alone || len(j.Private) > 0 {
		f.merged = f.updated(answer.Clone(), verdict, law.Judgement{Age: j.Age}, now)
	}
	f.entry = f.updated(answer, verdict, j, now)
	f.answer = answer
	if verdict.Store && worthKeeping(verdict, j, answer) {
		f.stored = f.h.cache.add(f.position, f.entry, 0)
	} else {
		f.confirm(now)
	}
}

// confirm renews what is stored after a 304 that is its asker's alone (RFC 9111,
// section 4.3.4): whoever asks, the page is as it was. But only how long it
// lives is taken from the answer. The rest may be about the visitor, and if the
// answer says that it is not for others, the page stays as stale as it is and
// waits for a better witness, as it does after a whole answer that is private:
// what a visitor can bring a backend to say must not throw a page away.
func (f *fetch) confirm(now time.Time) {
	answer := law.Confirm(f.stale.Header(), f.header, f.h.cache.opts.Name)
	nobody := *f.ask
	nobody.cookie, nobody.auth, nobody.noStore = false, false, false
	verdict, j := nobody.judge(f.request, int(f.stale.Status), answer, f.asked, now)
	if verdict.Store && verdict.Fresh > 0 {
		f.stored = f.h.cache.add(f.position, f.updated(answer, verdict, j, now), 0)
		return
	}
	if f.alone {
		f.mark(http.StatusNotModified, now) // nobody need wait for the like
	}
}

// updated returns what is stored with another header. It stays the variant that
// it is, and keeps its tags: the fields that named them were taken off.
func (f *fetch) updated(answer http.Header, v Verdict, j law.Judgement, now time.Time) *memory.Entry {
	e := f.ask.entry(int(f.stale.Status), answer, v, j, f.asked, now)
	if old := f.stale.More; old != nil && e.More != nil && e.More.Vary == old.Vary {
		e.More.Variant = old.Variant
	}
	keepTags(e, f.stale)
	e.SetBody(f.stale.Chunks()) // shared: its bytes count twice until the old one is gone
	return e
}

// keepTags gives e the tags of what it is made from.
func keepTags(e, from *memory.Entry) {
	if from.More == nil || len(from.More.Tags) == 0 {
		return
	}
	if e.More == nil {
		e.More = new(memory.More)
	}
	for _, tag := range from.More.Tags {
		if !slices.Contains(e.More.Tags, tag) {
			e.More.Tags = append(e.More.Tags, tag)
		}
	}
}

// keep stores the response, which is whole.
func (f *fetch) keep() bool {
	chunks, reserved, ok := f.body.take()
	if !ok {
		if f.written > f.h.cache.opts.MaxBody { // else for want of room, which passes
			f.mark(f.status, time.Now())
		}
		return false
	}
	length := int64(-1)
	if f.length < 0 {
		length = f.written
	}
	e := f.entry.Whole(chunks, length)
	f.h.cache.store.Retain(e) // for those who read along, stored or not
	stored := f.h.cache.add(f.position, e, reserved)
	f.body.kept(e)
	return stored
}
