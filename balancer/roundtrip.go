package balancer

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"time"

	"github.com/foretier/foretier/balancer/internal/h2"
	"github.com/foretier/foretier/balancer/internal/pool"
	"github.com/foretier/foretier/internal/fields"
	"github.com/foretier/foretier/internal/http1"
	"github.com/foretier/foretier/internal/transit"
)

// RoundTrip sends r to a backend and, while that is allowed, to a second one
// if the first fails. The URL's scheme and host are replaced by the backend's.
// It implements [http.RoundTripper].
func (p *proxy) RoundTrip(r *http.Request) (*http.Response, error) {
	x := p.newExchange(r)
	a, err := x.run()
	if err != nil {
		if r.Body != nil {
			_ = r.Body.Close() // as RoundTrip must; else it ends with the response's
		}
		return nil, err
	}
	res := a.res
	res.Body = a.body
	if p.opts.Affinity != nil {
		p.bind(res.StatusCode, res.Header, x)
	}
	return res, nil
}

// run brings the exchange to an answer, which has to be closed.
func (x *exchange) run() (*answer, error) {
	p := x.pool
	if err := p.refuses(x.req); err != nil {
		return nil, err
	}
	x.prepare()
	if err := x.gather(); err != nil {
		x.spool.end()
		return nil, err
	}
	p.inflight.Add(1)
	p.budget.requests.add(time.Now().Unix())
	a, err := x.attempts()
	if err != nil {
		p.inflight.Add(-1)
		if x.spool != nil {
			x.spool.end()
		}
		return nil, err
	}
	if x.spool != nil {
		x.spool.settle()
	}
	return a, nil
}

// prepare gathers what holds for every attempt.
func (x *exchange) prepare() {
	p, r := x.pool, x.req
	t := x.rec.Terms
	x.retry = t.Retry
	x.timeouts.Header = override(t.Header, x.timeouts.Header)
	x.timeouts.Idle = override(t.Idle, x.timeouts.Idle)
	x.timeouts.Total = override(t.Total, x.timeouts.Total)
	x.ask.Stream = t.Streams
	x.ask.MayStream = asksForStream(x.out)
	x.ask.Repeatable, x.ask.Request, x.ask.Client = x.mayRepeat(), r, transit.Client(r)
	if x.body != nil && x.body != http.NoBody {
		x.spool = newSpool(x.body, p.opts.Retries.Body, &p.depot, clientOf(r))
		x.trailers = announcedTrailers(r)
	}
	x.header = x.out
	if p.opts.Affinity != nil {
		var key string
		if x.ask.Pin, key = p.opts.Affinity.Choose(r); key != "" {
			x.ask.Bind = pool.Hash64(key)
			x.ask.Key = x.ask.Bind
		}
		x.header = x.out.Clone()
		p.opts.Affinity.Strip(x.header)
	}
}

func override(rule, pool time.Duration) time.Duration {
	if rule != 0 {
		return rule
	}
	return pool
}

// attempts tries backends until one answers, or no more may be tried.
func (x *exchange) attempts() (*answer, error) {
	p := x.pool
	t, err := x.acquire()
	if err != nil {
		return nil, err
	}
	for {
		a, err := t.roundTrip()
		next := x.next(t, a, err)
		if next == nil && err == nil {
			if err = t.settle(a); err != nil {
				_ = a.body.Close() // there is no place for it
				t.end()
			}
		}
		if next == nil {
			x.noteTry(t, err)
			if err != nil {
				return nil, x.failure(t, err)
			}
			x.ask.Pin = t.entry.Name
			t.finish(a)
			return a, nil
		}
		p.retried.add(t, err)
		if err == nil {
			err = fmt.Errorf("answered %d", a.status)
			_ = a.body.Close() // it is thrown away
			t.end()
		}
		x.before = append(x.before, failed{t.entry.Name, err})
		t = next
	}
}

// next returns the try that follows t, or nil if there is none: what was not
// sent, or was rescued, goes on to any backend that is left, the rest as far
// as the retries go.
func (x *exchange) next(t *try, a *answer, err error) *try {
	p := x.pool
	unsent := err != nil && t.unsent(err) || err == errRescued // which has paid already
	if !t.mayRepeat(a, err) || !unsent && x.repeats >= p.opts.Retries.Max {
		return nil
	}
	next, none := x.acquireNow()
	if none != nil {
		return nil
	}
	if !unsent {
		if !p.budget.spend(time.Now(), p.opts.Retries) {
			next.abandon()
			p.retried.denied.Add(1)
			return nil
		}
		x.repeats++
	}
	return next
}

// acquire takes a place at a backend, and waits in the queue if all are full.
func (x *exchange) acquire() (*try, error) {
	var t *try
	err := x.pool.view.Acquire(x.req.Context(), &x.ask, func() (err error) {
		t, err = x.acquireNow()
		return err
	})
	return t, err
}

// acquireNow takes a place at a backend that was not tried.
func (x *exchange) acquireNow() (*try, error) {
	t := &x.first
	if t.exchange != nil {
		t = new(try)
	}
	t.exchange, t.start, t.ctx = x, time.Now(), x.req.Context()
	t.place.Owner = t
	c, err := x.pool.view.Take(&x.ask, &t.place, t.start)
	if err != nil {
		return nil, err
	}
	t.entry, t.way = c.Entry, wayTo(c.Entry)
	x.picked(c, t.start)
	return t, nil
}

// picked tells [Trace.Picked] of a pick.
func (x *exchange) picked(c pool.Choice, now time.Time) {
	trace := x.pool.opts.Trace
	if trace == nil || trace.Picked == nil {
		return
	}
	d := c.Decision(x.pool.opts.Name, now)
	d.Verdict, d.Why = c.Entry.Name, c.Because()
	if n := len(x.ask.Tried); n > 1 {
		d.Why += fmt.Sprintf("; attempt %d", n)
	}
	trace.Picked(x.req.Context(), d)
}

// roundTrip sends the request. On an error the place is free again.
func (t *try) roundTrip() (*answer, error) {
	x, e, a := t.exchange, t.entry, &t.answer
	t.steered = x.ask.Pin == e.Name || x.ask.Bind != 0
	if x.timeouts.Total > 0 {
		t.ctx, t.cancel = context.WithTimeoutCause(t.ctx, x.timeouts.Total, fmt.Errorf("%w: not done after %v", ErrTimeout, x.timeouts.Total))
	}
	if x.pool.opts.Refuse != nil && x.pool.guards(t.request()) {
		t.place.Leave()
		t.end()
		return nil, ErrRefused
	}
	if x.rec.Span != nil {
		t.span(x.rec.Span)
	}
	err := t.send(t.way.transport)
	if err == nil {
		t.answered = true
		t.now = time.Now()
		o := t.judge(t.now, a)
		if err = t.receive(a); err == nil {
			if !a.page && a.body != http.NoBody { // it may have been waited for
				t.now = time.Now()
			}
			x.pool.observe(e, t.now, x.req, o)
			t.tried(t.now, a.status, nil)
			return a, nil
		}
		err = fmt.Errorf("response broke off: %w", err)
		_ = a.body.Close() // what came of it is thrown away
	}
	t.now = time.Now()
	err = t.cause(err)
	t.judgeError(t.now, err)
	t.end()
	t.tried(t.now, 0, err)
	return nil, err
}

// span begins the attempt's span, of which its backend is told. A copy of the header
// says so where that is a caller's, or was an attempt's: a transport may still look at it.
func (t *try) span(of transit.Span) {
	parent, state, end := of.Try(t.entry.Name)
	t.traced = end
	if parent == "" {
		return
	}
	x := t.exchange
	h := x.header
	if x.passage == nil || len(x.before) > 0 {
		h = maps.Clone(h)
	}
	t.parent[0] = parent
	h["Traceparent"] = t.parent[:]
	delete(h, "Tracestate")
	if state != "" {
		h["Tracestate"] = []string{state}
	}
	x.header = h
}

// tried tells what became of an attempt.
func (t *try) tried(now time.Time, status int, err error) {
	if t.traced != nil {
		t.traced(status, err)
	}
	trace := t.exchange.pool.opts.Trace
	if trace == nil || trace.Tried == nil {
		return
	}
	trace.Tried(t.exchange.req.Context(), Attempt{Backend: t.entry.Name, Status: status, Err: err, Took: now.Sub(t.start)})
}

// send sends the request the way that leads to its backend, for its answer.
func (t *try) send(rt http.RoundTripper) error {
	switch rt := rt.(type) {
	case *http1.Transport:
		t.call.Now = t.start
		return t.over(rt)
	case *h2.Transport:
		return t.overHTTP2(rt)
	case *secure:
		const minds = 3 // what it speaks, what it spoke before, and a change on the way
		for range minds {
			if c := rt.overHTTP1(t.exchange.header); c != nil {
				if err := t.over(c); err != errHTTP2 {
					return err
				}
				continue
			}
			if err := t.overHTTP2(rt.h2); !errors.Is(err, errHTTP1) {
				return err
			}
			rt.chose.Store(false)
		}
		return errHTTP2
	}
	return t.through(rt)
}

// fill makes the try's call, over whatever it is sent.
func (t *try) fill() {
	x := t.exchange
	t.call.Request, t.call.Header = x.req, x.header
	t.call.Fresh = !x.repeatable()
	t.call.Wait, t.call.Idle = x.timeouts.Header, x.timeouts.Idle
	if x.spool != nil {
		t.call.Again, t.call.Whole = x.again, x.spool.replayable
	} else if x.repeatable() {
		t.call.Again = always
	}
	t.call.Trailer, t.call.Page = x.trailers, pageSize
	if x.passage != nil {
		t.call.Head, t.call.Teller = x.head, x.passage
	}
	if x.req.URL.Path != "*" {
		t.call.Base = t.way.base
	}
	if x.spool != nil {
		t.call.Body, t.call.Here = x.spool.body, x.spool.here()
		t.call.Uploads = x.uploads
	}
}

// over sends the request over the pool's own connections.
func (t *try) over(c *http1.Transport) error {
	x := t.exchange
	t.fill()
	if x.spool != nil {
		r, err := t.measured(c)
		if err != nil {
			return err
		}
		if r != x.req { // trailers need chunks, and go
			t.call.Request, t.call.Trailer = r, nil
		}
	}
	x.pool.together(t.start)
	reply, err := c.Exchange(t.ctx, &t.call)
	if err != nil {
		return err
	}
	t.own = true
	if x.passage == nil {
		t.answer = answerOf(reply.Response())
	} else {
		t.answer = replied(reply, reply.Head, &reply.Trailer)
		t.answer.unproven = reply.Unproven()
	}
	return nil
}

func always() bool { return true }

// bind lets the affinity bind, and keeps what became one client's own from
// being shared. An answer that a cache in front means to share binds nobody,
// because it would be the first visitor's binding that is shared.
func (p *proxy) bind(status int, h http.Header, x *exchange) {
	if x.rec.Storable != nil && x.rec.Storable(status, h) {
		return
	}
	before := len(h["Set-Cookie"])
	p.opts.Affinity.Bind(h, x.req, x.ask.Pin)
	if len(h["Set-Cookie"]) == before {
		return
	}
	fields.CacheControl(h, "no-store")
}
