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
	"time"

	"github.com/foretier/foretier/cache/internal/law"
	"github.com/foretier/foretier/cache/internal/memory"
	"github.com/foretier/foretier/internal/fields"
	"github.com/foretier/foretier/internal/transit"
)

// An answer is what a fetch brought, as far as its header says. A pure function
// makes it, and it is published once, to all who wait.
type answer struct {
	kind   kind
	status int
	why    string // why it is not stored, or what it covers
	cause  error  // of an error of the tier's own

	mark   time.Duration // for so long nobody need wait for the like; 0: not known
	unmark bool          // others may wait for the like again

	strip []string // private, or shared until there is no room: the fields that are taken off

	// shared and modified: what others may use.
	entry     *memory.Entry // shared: as it will be stored; modified: as updated; found: what is stored
	header    http.Header   // shared: as all get it
	own       http.Header   // shared: the same for the leader, if some of it is for it only
	length    int64         // shared: of the body; -1 if unknown
	aged      bool          // shared: it came with an Age
	completes bool          // shared: the body goes on where what is stored ends
	forOne    bool          // modified: what the 304 said is for the leader only
	merged    *memory.Entry // modified: as the leader gets it, if that is not entry
	keep      *memory.Entry // modified: what is stored at once, or nil

	held *memory.Entry // modified and covered: what was stored before, with its body
}

// A kind is what an answer turned out to be.
type kind uint8

const (
	pending  kind = iota
	shared        // it is being stored; everybody reads along
	private       // not to be stored: it is its leader's alone
	modified      // a 304 for what is stored: entry has been updated
	covered       // an error in whose place the stale entry is served
	failed        // an error of the tier's own, the same for everybody
	again         // a 304 for something else: to be asked without conditions
	found         // nothing was asked: it has been stored meanwhile
	closed        // nothing was asked: the cache is closed
)

var (
	// errAborted ends a response whose end never came.
	errAborted = errors.New("cache: the response was cut off")
	// errNotTheRest ends the fetch of a rest that does not belong to the stored
	// beginning.
	errNotTheRest = errors.New("cache: not the rest of what is stored")
)

// A response is what a backend has said of what it sends.
type response struct {
	request  *http.Request // as it was sent
	asked    time.Time     // when
	now      time.Time
	status   int
	header   http.Header
	cause    error // of an error of the tier's own
	unproven bool  // whether the body is whole will not be known
}

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
	ctx, record := transit.From(q.ask.r.Context()).Detach(q.ask.r.Context())
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
	defer f.letGo()
	defer close(f.done)
	defer f.cancel(context.Canceled)
	defer f.budget.Stop()
	defer f.h.flights.leave(f.flight)
	err := f.call()
	if err == nil && f.ctx.Err() != nil {
		err = context.Cause(f.ctx) // it may have returned for that reason
	}
	if err == nil && !f.wrote {
		f.WriteHeader(http.StatusOK)
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
		f.finish(err)
	}
}

// finish stores a shared response, if it is whole, and tells all who read along.
func (f *fetch) finish(err error) {
	if err == nil {
		err = f.whole()
	}
	if err == nil {
		f.stored = f.keep()
	}
	f.trailer = f.header
	f.h.flights.leave(f.flight) // what has ended is found in the store, or asked for anew
	f.body.end(err)
	f.body.give()
}

// letGo gives back what the fetch held.
func (f *fetch) letGo() {
	if f.refreshes {
		<-f.h.refreshing
	}
	if f.stale != nil && !f.stored && (f.refreshes || f.answer.kind == covered) && context.Cause(f.ctx) != errNobody {
		f.stale.Rest(time.Now().Add(time.Second)) // no hammering
	}
	f.release()
}

// release ends the hold on what was stored before.
func (f *fetch) release() {
	for _, e := range [...]**memory.Entry{&f.stale, &f.begun} {
		if *e != nil {
			f.h.cache.store.Release(*e)
			*e = nil
		}
	}
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
	case f.answer.length >= 0 && f.written != f.answer.length:
		return fmt.Errorf("%w: %d of %d bytes", errAborted, f.written, f.answer.length)
	}
	return nil
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
		f.give(an)
	case modified:
		if an.keep != nil {
			f.stored = f.h.cache.add(f.position, an.keep, 0)
		}
	case again:
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
	f.h.countAgents(f.ask, an.entry)
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

// give begins to write a response that is the leader's alone.
func (f *fetch) give(an answer) {
	f.forget()
	for _, name := range an.strip {
		f.header.Del(name)
	}
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
		f.release()
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

// read says what a response means to those who wait for it.
func (q *question) read(r response) answer {
	switch {
	case r.cause != nil:
		return q.coverable(answer{kind: private, status: r.status, why: "error of the tier", cause: r.cause}, r.now)
	case r.status == http.StatusNotModified && q.stale != nil && validates(r.request):
		if !law.Validates(q.stale.Header(), r.header) {
			return answer{kind: again}
		}
		return q.update(r)
	case r.status >= 500 && q.stale != nil && q.ask.mayCover(q.stale, r.now):
		return answer{kind: covered, status: r.status, why: "status " + strconv.Itoa(r.status), held: q.stale}
	}
	header, length := r.header.Clone(), contentLength(r.header)
	fields.RemoveHopByHop(header)
	if q.begun != nil && (r.status == http.StatusPartialContent || r.status == http.StatusRequestedRangeNotSatisfiable) {
		return q.completed(r, header)
	}
	return q.judged(r, header, length)
}

// failure is the answer of a fetch that ended without a header.
func (q *question) failure(err error, now time.Time) answer {
	an := answer{kind: failed, status: http.StatusBadGateway, why: "failed", cause: err}
	if errors.Is(err, context.DeadlineExceeded) {
		an.status = http.StatusGatewayTimeout
	}
	return q.coverable(an, now)
}

// coverable has what is stored served in place of an error, if it may be.
func (q *question) coverable(an answer, now time.Time) answer {
	if q.stale != nil && q.ask.mayCover(q.stale, now) {
		an.kind, an.held = covered, q.stale
	}
	return an
}

// completed is the answer to a request for the rest of what is stored. Its
// leader has asked for the whole, so the rest alone is of no use.
func (q *question) completed(r response, header http.Header) answer {
	header, length, ok := combined(q.begun, header)
	if !ok {
		return answer{kind: again, cause: errNotTheRest}
	}
	r.status = http.StatusOK
	an := q.judged(r, header, length)
	if an.kind != shared {
		return answer{kind: again, cause: errNotTheRest}
	}
	an.completes = true
	keepTags(an.entry, q.begun)
	return an
}

// judged is the answer that a response is which neither confirms nor completes
// what is stored, nor is covered by it.
func (q *question) judged(r response, header http.Header, length int64) answer {
	v, j := q.ask.judge(r.request, r.status, header, r.asked, r.now)
	why := v.Why
	if v.Store {
		why = q.unfit(r, v, j, header, length)
	}
	if !v.Store || why != "" {
		return answer{kind: private, status: r.status, why: why, strip: v.Strip, mark: q.markFor(r.status, r.header)}
	}
	an := answer{kind: shared, status: r.status, header: header, length: length, aged: header["Age"] != nil, unmark: true, strip: v.Strip}
	if len(j.Private) > 0 {
		an.own = header.Clone()
	}
	an.entry = q.ask.entry(r.status, header, v, j, r.asked, r.now)
	if r.status == http.StatusPartialContent && !q.ask.part(an.entry, header, length) {
		return answer{kind: private, status: r.status, why: "a part of unknown place or size", unmark: true}
	}
	return an
}

// unfit says why a response is not stored although it may be, or "".
func (q *question) unfit(r response, v Verdict, j law.Judgement, header http.Header, length int64) string {
	switch {
	case !worthKeeping(v, j, header):
		return "no lifetime"
	case r.request.Header["Range"] != nil && r.status != http.StatusOK && r.status != http.StatusPartialContent:
		return "answers a range"
	case r.unproven:
		return "end of the body unknown"
	case len(r.header["Trailer"]) > 0:
		return "trailers"
	case length > q.ask.h.cache.opts.MaxBody:
		return "too large"
	}
	return ""
}

// roomless is what a shared answer becomes for whose body there is no room, which
// passes.
func (q *question) roomless(an answer) answer {
	if an.completes {
		return answer{kind: again, cause: errNotTheRest}
	}
	return answer{kind: private, status: an.status, why: "no room", strip: an.strip}
}

// markFor returns for how long nobody need wait for what q asks for, given an
// answer that is not stored; 0 if what holds for its leader need not hold for
// others.
func (q *question) markFor(status int, header http.Header) time.Duration {
	switch {
	case q.ask.personal() || q.ask.partial || law.OfRequest(status, header) || law.Provoked(status):
		return 0
	case status >= 500:
		return time.Second
	}
	return 2 * time.Minute
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

// validates reports whether a request asks the backend to validate.
func validates(r *http.Request) bool {
	return r.Header["If-None-Match"] != nil || r.Header["If-Modified-Since"] != nil
}

// update puts what a 304 says into what is stored (RFC 9111, section 4.3.4).
// The result is asked whatever a response is asked that comes whole: what sets
// a cookie, or is private by now, is its leader's alone, and the others ask for
// themselves.
func (q *question) update(r response) answer {
	header := law.Update(q.stale.Header(), r.header)
	v, j := q.ask.judge(r.request, int(q.stale.Status), header, r.asked, r.now)
	an := answer{kind: modified, status: r.status, held: q.stale, forOne: !v.Store, unmark: v.Store}
	if !v.Store || len(j.Private) > 0 {
		an.merged = q.updated(r, header.Clone(), v, law.Judgement{Age: j.Age})
	}
	an.entry = q.updated(r, header, v, j)
	if v.Store && worthKeeping(v, j, header) {
		an.keep = an.entry
		return an
	}
	if an.keep = q.confirmed(r); an.keep == nil && an.forOne {
		an.mark = q.markFor(r.status, r.header) // nobody need wait for the like
	}
	return an
}

// confirmed returns what is stored, renewed by a 304 that is its asker's alone
// (RFC 9111, section 4.3.4), or nil: whoever asks, the page is as it was. But
// only how long it lives is taken from the answer. The rest may be about the
// visitor, and if the answer says that it is not for others, the page stays as
// stale as it is and waits for a better witness, as it does after a whole answer
// that is private: what a visitor can bring a backend to say must not throw a page
// away.
func (q *question) confirmed(r response) *memory.Entry {
	header := law.Confirm(q.stale.Header(), r.header, q.ask.h.cache.opts.Name)
	nobody := *q.ask
	nobody.cookie, nobody.auth, nobody.noStore = false, false, false
	v, j := nobody.judge(r.request, int(q.stale.Status), header, r.asked, r.now)
	if !v.Store || v.Fresh <= 0 {
		return nil
	}
	return q.updated(r, header, v, j)
}

// updated returns what is stored with another header. It stays the variant that
// it is, and keeps its tags: the fields that named them were taken off.
func (q *question) updated(r response, header http.Header, v Verdict, j law.Judgement) *memory.Entry {
	e := q.ask.entry(int(q.stale.Status), header, v, j, r.asked, r.now)
	if old := q.stale.More; old != nil && e.More != nil && e.More.Vary == old.Vary {
		e.More.Variant = old.Variant
	}
	keepTags(e, q.stale)
	e.SetBody(q.stale.Chunks()) // shared: its bytes count twice until the old one is gone
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
			f.remark(answer{mark: f.markFor(f.answer.status, f.header)})
		}
		return false
	}
	length := int64(-1)
	if f.answer.length < 0 {
		length = f.written
	}
	e := f.answer.entry.Whole(chunks, length)
	f.h.cache.store.Retain(e) // for those who read along, stored or not
	stored := f.h.cache.add(f.position, e, reserved)
	f.body.kept(e)
	return stored
}
