package balancer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/foretier/foretier/balancer/internal/pool"
	"github.com/foretier/foretier/health"
	"github.com/foretier/foretier/internal/http1"
	"github.com/foretier/foretier/internal/target"
	"github.com/foretier/foretier/internal/transit"
)

// A try is one attempt of an exchange at one backend. It holds the backend's
// place from the pick to the end of the response's body.
type try struct {
	exchange *exchange
	entry    *pool.Entry
	way      *way // to it
	place    pool.Place
	start    time.Time
	ended    sync.Once
	ctx      context.Context    // of the client's request, with the limit of everything
	cancel   context.CancelFunc // nil: there is no such limit
	call     http1.Call         // over the pool's own connections
	over     atomic.Int32       // see left
	answered bool               // a header has come
	steered  bool               // the client, or whoever made its cookie, has picked the backend

	// Through any other transport:
	mu        sync.Mutex
	interrupt context.CancelCauseFunc // guarded by mu against rescue
	timer     *time.Timer             // until the header
	sent      atomic.Bool             // a byte of it may have arrived
	stale     atomic.Bool             // it went over a kept connection, and nothing has come back
}

// roundTrip sends the request. On an error the place is free again.
func (t *try) roundTrip() (*http.Response, error) {
	x, e := t.exchange, t.entry
	t.steered = x.ask.Pin == e.Name || x.ask.Bind != 0
	if x.timeouts.Total > 0 {
		t.ctx, t.cancel = context.WithTimeoutCause(t.ctx, x.timeouts.Total, fmt.Errorf("%w: not done after %v", ErrTimeout, x.timeouts.Total))
	}
	var res *http.Response
	var err error
	if x.pool.opts.Refuse != nil && x.pool.guards(t.request()) {
		t.place.Leave()
		t.end()
		return nil, ErrRefused
	}
	res, err = t.send(t.way.transport)
	if err == nil {
		t.answered = true
		o := t.judge(time.Now(), res)
		if err = t.receive(res); err == nil {
			now := time.Now()
			x.pool.observe(e, now, x.req, o)
			t.tried(now, res.StatusCode, nil)
			return res, nil
		}
		err = fmt.Errorf("response broke off: %w", err)
		_ = res.Body.Close() // what came of it is thrown away
	}
	now := time.Now()
	err = t.cause(err)
	t.judgeError(now, err)
	t.end()
	t.tried(now, 0, err)
	return nil, err
}

// request returns the request as it goes out.
func (t *try) request() *http.Request {
	return t.exchange.request(t.ctx, t.way)
}

func (x *exchange) request(ctx context.Context, w *way) *http.Request {
	out := x.req.WithContext(ctx)
	out.URL = join(w.url, x.req.URL)
	out.Header = x.header
	return out
}

// send sends the request the way that leads to its backend.
func (t *try) send(rt http.RoundTripper) (*http.Response, error) {
	switch rt := rt.(type) {
	case *http1.Client:
		return t.direct(rt)
	case *secure:
		const minds = 3 // what it speaks, what it spoke before, and a change on the way
		for range minds {
			if c := rt.overHTTP1(t.exchange.header); c != nil {
				if res, err := t.direct(c); err != errHTTP2 {
					return res, err
				}
				continue
			}
			res, err := t.through(rt.h2)
			if !errors.Is(err, errHTTP1) {
				return res, err
			}
			rt.chose.Store(false)
		}
		return nil, errHTTP2
	}
	return t.through(rt)
}

// direct sends the request over the pool's own connections.
func (t *try) direct(c *http1.Client) (*http.Response, error) {
	x := t.exchange
	t.call.Request, t.call.Header = x.req, x.header
	t.call.Fresh = !x.repeatable()
	t.call.Wait, t.call.Idle = x.timeouts.Header, x.timeouts.Idle
	t.call.Again = x.again
	t.call.Trailer = x.trailers
	if x.req.URL.Path != "*" {
		t.call.Base = t.way.base
	}
	if x.spool != nil {
		t.call.Body = x.spool.body
		t.call.Uploads, _ = t.ctx.Value(uploadsKey{}).(*sync.WaitGroup)
		if c.NoChunks() && x.req.ContentLength < 0 {
			if err := t.measure(); err != nil {
				return nil, err
			}
		}
	}
	return c.Do(t.ctx, &t.call)
}

// again reports whether the request may be sent a second time to the backend
// that closed its connection before it said anything.
func (x *exchange) again() bool {
	return x.repeatable() && (x.spool == nil || x.spool.replayable())
}

// through sends the request through any other transport, and again to the same
// backend if that took a kept connection that turned out to be closed, or if the
// backend did not process it.
func (t *try) through(rt http.RoundTripper) (*http.Response, error) {
	ctx := t.ctx
	res, err := t.once(ctx, rt)
	const most = 3 // times; then the others, if there are any
	for n := 1; n < most && err != nil && ctx.Err() == nil && context.Cause(t.ctx) == nil && t.onceMore(err); n++ {
		t.interrupt(nil)
		t.sent.Store(false)
		res, err = t.once(ctx, rt)
	}
	return res, err
}

// onceMore reports whether the same backend may give the request that ended
// with err a fair hearing.
func (t *try) onceMore(err error) bool {
	if unprocessed(err) {
		return t.exchange.spool == nil || t.exchange.spool.replayable()
	}
	return t.stale.Load() && t.exchange.again()
}

// once sends the request through rt, once as far as this end knows.
func (t *try) once(ctx context.Context, rt http.RoundTripper) (*http.Response, error) {
	x := t.exchange
	ctx, cancel := context.WithCancelCause(ctx)
	t.mu.Lock()
	t.interrupt = cancel
	t.mu.Unlock()
	t.timer = time.AfterFunc(time.Hour, func() {
		cancel(fmt.Errorf("%w: no response for %v", ErrTimeout, x.timeouts.Header))
	})
	t.timer.Stop()
	t.ctx = httptrace.WithClientTrace(ctx, t.trace())
	out := t.request()
	out.Close = out.Close || http1.LogsIn(out.Header)
	out.Trailer = nil
	if x.spool != nil {
		out.Body = x.spool.body()
		out.GetBody = nil
		if len(x.trailers) > 0 {
			out.Trailer = make(http.Header)
			for _, name := range x.trailers {
				out.Trailer[name] = nil
			}
			out.Body = &trailing{out.Body, x, out.Trailer}
		}
	}
	res, err := rt.RoundTrip(out)
	t.timer.Stop()
	if err == nil {
		if err = http1.Sound(x.header, res); err != nil {
			_ = res.Body.Close() // nobody wants it
			return nil, err
		}
	}
	return res, err
}

// trace learns from the transport what was sent, on what, and when the wait
// begins.
func (t *try) trace() *httptrace.ClientTrace {
	limit := t.exchange.timeouts.Header
	told := 0 // bytes of informational responses
	return &httptrace.ClientTrace{
		Got1xxResponse: func(_ int, h textproto.MIMEHeader) error {
			told += len("HTTP/1.1 100 \r\n\r\n")
			for name, values := range h {
				for _, v := range values {
					told += len(name) + len(v) + len(": \r\n")
				}
			}
			if told > http1.MaxHeader { // an error would not count beside another trace's
				t.interrupt(errTalks)
			}
			return nil
		},
		GotConn:              func(i httptrace.GotConnInfo) { t.stale.Store(i.Reused) },
		GotFirstResponseByte: func() { t.stale.Store(false) },
		WroteHeaders:         func() { t.sent.Store(true) },
		WroteRequest: func(httptrace.WroteRequestInfo) {
			if limit > 0 {
				t.timer.Reset(limit)
			}
		},
	}
}

// errTalks ends the wait for a backend that tells without end that it will
// answer.
var errTalks = fmt.Errorf("balancer: more than %d bytes of informational responses", http1.MaxHeader)

// cause returns the first of the errors that led to err.
func (t *try) cause(err error) error {
	x := t.exchange
	if x.spool != nil {
		if failed := x.spool.failure(); failed != nil {
			return failed
		}
	}
	if cause := context.Cause(t.ctx); cause != nil && (x.gone() || errors.Is(cause, ErrTimeout) || cause == errRescued || cause == errTalks) {
		return cause
	}
	var late *http1.TimeoutError
	if errors.As(err, &late) {
		return fmt.Errorf("%w: %w", ErrTimeout, late)
	}
	return err
}

// judge tells the backend's load what a response's header means, and returns
// what it says to the tracker, if its body comes as well.
func (t *try) judge(now time.Time, res *http.Response) health.Outcome {
	o := health.Answered
	status := res.StatusCode
	patience := status == http.StatusTooManyRequests || status == http.StatusServiceUnavailable && res.Header["Retry-After"] != nil
	switch {
	case patience && status == http.StatusServiceUnavailable:
		o = health.Erred // it works, and has too much of it
	case status == 502 || status == 503 || status == 504:
		o = health.Failed
	case status >= 500:
		o = health.Erred
	}
	if patience && t.begs(now) {
		t.entry.Spare.Store(now.Add(asked(res.Header.Get("Retry-After"))).UnixNano())
	}
	if o != health.Answered && !t.tells(now) {
		t.place.Pardon(now)
	} else {
		t.place.Header(now, o != health.Answered)
	}
	return o
}

// asked returns for how long a backend that is overloaded is given less: what
// it says, from one second to thirty.
func asked(retryAfter string) time.Duration {
	n, _ := strconv.Atoi(retryAfter) // a date, or nothing: the least
	return min(max(time.Duration(n), 1), 30) * time.Second
}

// judgeError does so for the lack of one. What the client did is nobody's
// fault here.
func (t *try) judgeError(now time.Time, err error) {
	var client *clientError
	if t.exchange.gone() || errors.As(err, &client) || errors.Is(err, http1.ErrInvalid) || err == errRescued {
		t.place.Leave()
		return
	}
	o := health.Failed
	switch {
	case health.Unreachable(err):
		o = health.Refused
	case unprocessed(err) && !t.answered:
		o = health.Erred // it works, and says what it does not do
	}
	if o != health.Refused && !t.tells(now) {
		t.place.Pardon(now)
	} else {
		if t.answered {
			t.place.Broke(now)
		}
		t.place.Header(now, true)
	}
	t.exchange.pool.observe(t.entry, now, t.exchange.req, o)
}

// mayRepeat reports whether the request may be sent to another backend, after
// it got this response or error.
func (t *try) mayRepeat(res *http.Response, err error) bool {
	x := t.exchange
	var client *clientError
	if x.gone() || errors.Is(err, ErrRefused) || errors.Is(err, http1.ErrInvalid) || errors.As(err, &client) {
		return false
	}
	if x.spool != nil && !x.spool.replayable() {
		return false
	}
	switch {
	case err != nil && t.unsent(err):
		return true
	case err != nil:
		return x.repeatable() && !errors.Is(err, ErrTimeout) && !isTimeout(err)
	case res.StatusCode == 502 || res.StatusCode == 503:
		return x.repeatable()
	case res.StatusCode == 500:
		return x.repeatable() && (x.anonymous() || x.retry == transit.RetryReplayable)
	}
	return false
}

// unsent reports whether an attempt that ended with err provably sent nothing,
// or nothing that the backend has looked at. One that has begun to answer has,
// whatever it says afterwards.
func (t *try) unsent(err error) bool {
	return !t.answered && (health.Unreachable(err) || unprocessed(err) || !t.sent.Load() && !t.call.Sent())
}

// abandon gives back the place of a try that was not begun.
func (t *try) abandon() {
	t.exchange.pool.view.Abandon(t.entry, &t.place)
}

// receive makes res's body one that holds the place until it ends. It returns
// how the body broke off, if it does so while it is held back.
func (t *try) receive(res *http.Response) error {
	x := t.exchange
	b := &body{try: t, src: res.Body}
	if t.interrupt != nil {
		b.idle = x.timeouts.Idle
	}
	if w, ok := res.Body.(io.Writer); ok && res.StatusCode == http.StatusSwitchingProtocols {
		b.idle = 0
		res.Body = upgraded{b, w}
		return nil
	}
	res.Body = b
	if b.src == http.NoBody || x.ask.Stream || streams(res.Header) {
		return nil
	}
	a := newAhead(x.pool, b, res.ContentLength)
	res.Body = a
	if w, ok := b.src.(interface{ Whole() bool }); unproven(res) || ok && w.Whole() {
		a.answer()
		return nil
	}
	return a.hold()
}

// finish makes res the pool's answer.
func (t *try) finish(res *http.Response) {
	x := t.exchange
	if x.rec != nil {
		x.rec.Unproven = unproven(res)
	}
	t.left()
}

// left is called when the response has been handed up, and when its body has
// ended, which may be before: with both the exchange is over.
func (t *try) left() {
	if t.over.Add(1) < 2 {
		return
	}
	x := t.exchange
	x.pool.inflight.Add(-1)
	if x.spool != nil {
		x.spool.end()
	}
	if x.req.Body != nil {
		_ = x.req.Body.Close() // of what is not read by now nothing is wanted
	}
}

// unproven reports whether only the end of the connection ends the body.
func unproven(res *http.Response) bool {
	return res.ProtoMajor == 1 && res.ContentLength == -1 && !slices.Contains(res.TransferEncoding, "chunked")
}

// end frees the place.
func (t *try) end() {
	t.ended.Do(func() {
		if t.interrupt != nil {
			t.interrupt(nil)
		}
		if t.cancel != nil {
			t.cancel()
		}
		t.free()
	})
}

func (t *try) free() { t.exchange.pool.view.Free(&t.place) }

// A body is a response's body that frees its place when it ends.
type body struct {
	try  *try
	src  io.ReadCloser
	idle time.Duration // the longest pause that is watched here; the pool's own connections watch theirs
	once sync.Once

	judged bool // whoever reads it calls broke
}

// Read bounds the wait for the next bytes.
func (b *body) Read(p []byte) (int, error) {
	if b.idle > 0 {
		timer := time.AfterFunc(b.idle, b.stall)
		defer timer.Stop()
	}
	n, err := b.src.Read(p)
	if err != nil && err != io.EOF && !b.judged {
		err = b.broke(err)
	}
	if err != nil {
		b.release()
	}
	return n, err
}

func (b *body) stall() {
	b.try.interrupt(fmt.Errorf("%w: nothing for %v inside a response", ErrTimeout, b.idle))
}

// broke judges a response that ended before its end, and leaves the cause.
func (b *body) broke(err error) error {
	t := b.try
	x := t.exchange
	if x.gone() {
		return err
	}
	err = t.entry.Fail(fmt.Errorf("response broke off: %w", err))
	x.rec.Fail(err)
	x.pool.observe(t.entry, time.Now(), t.exchange.req, health.Failed)
	if x.rec == nil || !x.rec.Logged {
		x.pool.log.LogAttrs(x.req.Context(), slogError, "response broke off", logRequest(x.req, err)...)
	}
	return err
}

// Close closes the source and frees the place.
func (b *body) Close() error {
	err := b.src.Close()
	b.release()
	return err
}

func (b *body) release() {
	b.once.Do(func() {
		b.try.end()
		b.try.left()
	})
}

// upgraded is the body of a 101, which is written too.
type upgraded struct {
	*body
	io.Writer
}

// observe judges what became of a request at e.
func (p *proxy) observe(e *pool.Entry, now time.Time, r *http.Request, o health.Outcome) {
	res := pool.Result{Outcome: o, Request: true}
	if o == health.Failed || o == health.Erred {
		res.Witness = witness(now, r, o)
	}
	p.view.Set.Observe(e, now, res)
}

// errRescued ends the wait for a backend that turned down.
var errRescued = errors.New("balancer: the backend turned down meanwhile")

// Rescue ends the wait if the request may be sent elsewhere. It does not wait
// for that to happen.
func (t *try) Rescue() {
	x := t.exchange
	if !x.again() || !x.pool.budget.spend(time.Now(), x.pool.opts.Retry) {
		return
	}
	t.call.Abort(errRescued)
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.interrupt != nil {
		t.interrupt(errRescued)
	}
}

// join returns where u is at the backend.
func join(base, u *url.URL) *url.URL {
	out := *u
	out.Scheme, out.Host, out.User = base.Scheme, base.Host, nil
	if out.Scheme == "h2c" {
		out.Scheme = "http"
	}
	to := target.Of(u)
	if base.Path != "" && to.Path != "*" {
		sep := ""
		if !strings.HasPrefix(to.Path, "/") {
			sep = "/"
		}
		to.Path = target.Sent(base) + sep + to.Path
	}
	to.Set(&out) // whatever transport sends it, the path stays as it is
	return &out
}
