package balancer

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/foretier/foretier/balancer/internal/pool"
	"github.com/foretier/foretier/internal/transit"
)

// RoundTrip sends r to a backend and, while that is allowed, to a second one
// if the first fails. The URL's scheme and host are replaced by the backend's.
// It implements [http.RoundTripper].
func (p *proxy) RoundTrip(r *http.Request) (*http.Response, error) {
	x := p.newExchange(r)
	res, err := x.run()
	if err != nil && r.Body != nil {
		_ = r.Body.Close() // as RoundTrip must; else it ends with the response's
	}
	return res, err
}

// An exchange is one request on its way through the pool.
type exchange struct {
	pool     *proxy
	ask      pool.Ask // for a place
	req      *http.Request
	rec      *transit.Record // may be nil
	timeouts Timeouts
	retry    transit.Retry
	header   http.Header  // what every attempt sends
	spool    *spool       // nil without a body
	turn     transit.Turn // of the rule's places, which it gave up for its body; nil: none
	trailers []string     // what may follow it
	repeats  int          // attempts after one that may have been executed
	before   []failed     // the attempts that failed
	last     failed       // the latest attempt
	took     time.Duration
}

func (p *proxy) newExchange(r *http.Request) *exchange {
	return &exchange{pool: p, req: r, rec: transit.From(r.Context()), timeouts: p.opts.Timeouts}
}

// refuses returns why r goes to no backend, or nil.
func (p *proxy) refuses(r *http.Request) error {
	if p.view.Closing.Err() != nil {
		return ErrClosed
	}
	if p.guards(r) {
		return ErrRefused
	}
	return nil
}

func (x *exchange) run() (*http.Response, error) {
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
	res, err := x.attempts()
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
	if p.opts.Affinity != nil {
		p.bind(res, x)
	}
	return res, nil
}

// prepare gathers what holds for every attempt.
func (x *exchange) prepare() {
	p, r := x.pool, x.req
	if x.rec != nil {
		t := x.rec.Terms
		x.retry = t.Retry
		x.timeouts.Header = override(t.Header, x.timeouts.Header)
		x.timeouts.Idle = override(t.Idle, x.timeouts.Idle)
		x.timeouts.Total = override(t.Total, x.timeouts.Total)
		x.ask.Stream = t.Streams
	}
	x.ask.MayStream = asksForStream(r.Header)
	x.ask.Repeatable, x.ask.Request, x.ask.Client = x.repeatable(), r, transit.Client(r)
	if r.Body != nil && r.Body != http.NoBody {
		x.spool = newSpool(r.Body, p.opts.Retry.Body, &p.depot, clientOf(r))
		x.trailers = announcedTrailers(r)
	}
	x.header = r.Header
	if p.opts.Affinity != nil {
		var key string
		if x.ask.Pin, key = p.opts.Affinity.Choose(r); key != "" {
			x.ask.Bind = pool.Hash64(key)
			x.ask.Key = x.ask.Bind
		}
		x.header = r.Header.Clone()
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
func (x *exchange) attempts() (*http.Response, error) {
	p := x.pool
	t, err := x.acquire()
	if err != nil {
		return nil, err
	}
	for {
		res, err := t.roundTrip()
		next := x.next(t, res, err)
		if next == nil && err == nil {
			if err = t.settle(res); err != nil {
				_ = res.Body.Close() // there is no place for it
				t.end()
			}
		}
		if next == nil {
			x.now(t, err)
			if err != nil {
				return nil, x.failure(t, err)
			}
			x.ask.Pin = t.entry.Name
			t.finish(res)
			return res, nil
		}
		if err == nil {
			err = fmt.Errorf("answered %d", res.StatusCode)
			_ = res.Body.Close() // it is thrown away
			t.end()
		}
		x.before = append(x.before, failed{t.entry.Name, err})
		p.retried.Add(1)
		t = next
	}
}

// next returns the try that follows t, or nil if there is none: what was not
// sent, or was rescued, goes on to any backend that is left, the rest as far
// as the retries go.
func (x *exchange) next(t *try, res *http.Response, err error) *try {
	p := x.pool
	unsent := err != nil && t.unsent(err) || err == errRescued // which has paid already
	if !t.mayRepeat(res, err) || !unsent && x.repeats >= p.opts.Retry.Max {
		return nil
	}
	next, none := x.acquireNow()
	if none != nil {
		return nil
	}
	if !unsent {
		if !p.budget.spend(time.Now(), p.opts.Retry) {
			next.abandon()
			return nil
		}
		x.repeats++
	}
	return next
}

// failed is what became of an attempt.
type failed struct {
	backend string
	err     error
}

// failure returns the error of an exchange that ended with err at t.
func (x *exchange) failure(t *try, err error) error {
	err = t.entry.Fail(err)
	for _, f := range x.before {
		err = fmt.Errorf("%w (before: backend %s: %v)", err, f.backend, f.err)
	}
	return err
}

// now notes for the log line where the request went.
func (x *exchange) now(t *try, err error) {
	x.last, x.took = failed{t.entry.Name, err}, time.Since(t.start)
	x.rec.Note("pool", x)
}

// LogValue implements [slog.LogValuer]: "web2 0.012s after web1: connection refused".
func (x *exchange) LogValue() slog.Value {
	var b strings.Builder
	b.WriteString(x.last.backend + " " + strconv.FormatFloat(x.took.Round(10*time.Microsecond).Seconds(), 'f', -1, 64) + "s")
	if x.last.err != nil {
		b.WriteString(" failed")
	}
	for _, f := range x.before {
		fmt.Fprintf(&b, " after %s: %v", f.backend, f.err)
	}
	return slog.StringValue(b.String())
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
	t := &try{exchange: x, start: time.Now(), ctx: x.req.Context()}
	t.place.Owner = t
	c, err := x.pool.view.Take(&x.ask, &t.place, t.start)
	if err != nil {
		return nil, err
	}
	t.entry, t.way = c.Entry, wayTo(c.Entry)
	x.picked(c, t.start)
	return t, nil
}

// repeatable reports whether executing the request twice does no harm.
func (x *exchange) repeatable() bool {
	switch x.retry {
	case transit.RetryNever:
		return false
	case transit.RetryReplayable:
		return true
	}
	return safe(x.req.Method) || x.req.Header.Get("Idempotency-Key") != ""
}

// safe reports whether method is one of those that are sent again. "Safe" in
// RFC 9110, section 9.2.1, also has TRACE, which is for one connection.
func safe(method string) bool {
	switch method {
	case "", http.MethodGet, http.MethodHead, http.MethodOptions:
		return true
	}
	return false
}

// anonymous reports whether nothing in the request says who asks, so that a
// repeat is the same question.
func (x *exchange) anonymous() bool {
	h := x.req.Header
	return (x.req.Method == "" || x.req.Method == http.MethodGet || x.req.Method == http.MethodHead) &&
		h["Cookie"] == nil && h["Authorization"] == nil
}

// gone reports whether the client is no longer there to answer.
func (x *exchange) gone() bool { return context.Cause(x.req.Context()) != nil }
