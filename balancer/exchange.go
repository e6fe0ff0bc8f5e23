package balancer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/foretier/foretier/balancer/internal/pool"
	"github.com/foretier/foretier/internal/http1"
	"github.com/foretier/foretier/internal/target"
	"github.com/foretier/foretier/internal/transit"
)

// An exchange is one request on its way through the pool.
type exchange struct {
	pool     *proxy
	ask      pool.Ask // for a place
	req      *http.Request
	rec      *transit.Record
	made     bool // rec is: the chain begins with a call of RoundTrip
	timeouts Timeouts
	retry    transit.Retry
	out      http.Header // the request's as it goes on
	header   http.Header // what every attempt sends: out, but for what is the affinity's
	body     io.ReadCloser
	uploads  *sync.WaitGroup // of the goroutines that read body; may be nil
	spool    *spool          // nil without a body
	turn     transit.Turn    // of the rule's places, which it gave up for its body; nil: none
	trailers []string        // what may follow it
	passage  *passage        // which the answer is for; nil: RoundTrip's caller
	head     *http1.Head     // memory for the answer's, nil without passage
	repeats  int             // attempts after one that may have been executed
	before   []failed        // the attempts that failed
	last     failed          // the latest attempt
	took     time.Duration
	first    try // which is nearly always the only one
}

// failed is what became of an attempt.
type failed struct {
	backend string
	err     error
}

// uploadsKey is where a request's context has the WaitGroup of the goroutines
// that read its body.
type uploadsKey struct{}

func (p *proxy) newExchange(r *http.Request) *exchange {
	x := &exchange{pool: p, timeouts: p.opts.Timeouts}
	x.req, x.rec, x.made = transit.Enter(r)
	x.out, x.body = r.Header, r.Body
	x.uploads, _ = r.Context().Value(uploadsKey{}).(*sync.WaitGroup)
	return x
}

func (x *exchange) request(ctx context.Context, w *way) *http.Request {
	out := x.req.WithContext(ctx)
	out.URL = join(w.url, x.req.URL)
	out.Header = x.header
	return out
}

// repeatable reports whether executing the request twice does no harm. It may be asked
// by others than the request's goroutine, and after its end.
func (x *exchange) repeatable() bool { return x.ask.Repeatable }

// mayRepeat finds out what repeatable reports.
func (x *exchange) mayRepeat() bool {
	switch x.retry {
	case transit.RetryNever:
		return false
	case transit.RetryReplayable:
		return true
	}
	return safe(x.req.Method) || x.out.Get("Idempotency-Key") != ""
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
	h := x.out
	return (x.req.Method == "" || x.req.Method == http.MethodGet || x.req.Method == http.MethodHead) &&
		h["Cookie"] == nil && h["Authorization"] == nil
}

// again reports whether the request may be sent a second time to the backend
// that closed its connection before it said anything.
func (x *exchange) again() bool {
	return x.repeatable() && (x.spool == nil || x.spool.replayable())
}

// gone reports whether the client is no longer there to answer.
func (x *exchange) gone() bool { return context.Cause(x.req.Context()) != nil }

// failure returns the error of an exchange that ended with err at t.
func (x *exchange) failure(t *try, err error) error {
	err = t.entry.Fail(err)
	for _, f := range x.before {
		err = fmt.Errorf("%w (before: backend %s: %v)", err, f.backend, f.err)
	}
	return err
}

// broke tells of err, which has ended the response once it was handed up. Where the
// chain began with a call of RoundTrip, nothing of it ends later.
func (x *exchange) broke(err error) {
	x.rec.Fail(err)
	if x.made {
		transit.Log(x.pool.opts.Logger, x.pool.opts.Name, x.req, x.rec)
	}
}

// noteTry notes for the log line where the request went.
func (x *exchange) noteTry(t *try, err error) {
	x.last, x.took = failed{t.entry.Name, err}, t.now.Sub(t.start)
	if x.rec.Hit { // of a fallback's first handler
		x.rec.Hit = false
	}
	x.rec.Note("pool", x)
}

// LogValue implements [slog.LogValuer]: "web2 0.012s after web1: connection refused".
func (x *exchange) LogValue() slog.Value {
	var room [96]byte
	b := append(append(room[:0], x.last.backend...), ' ')
	b = strconv.AppendFloat(b, x.took.Round(10*time.Microsecond).Seconds(), 'f', -1, 64)
	b = append(b, 's')
	if x.last.err != nil {
		b = append(b, " failed"...)
	}
	for _, f := range x.before {
		b = fmt.Appendf(b, " after %s: %v", f.backend, f.err)
	}
	return slog.StringValue(string(b))
}

// Attempts are how many there were, and where the last one went: for who traces.
func (x *exchange) Attempts() (n int, backend string) { return len(x.before) + 1, x.last.backend }

// Took is how long the last attempt took to its header: for who shows it.
func (x *exchange) Took() time.Duration { return x.took }

// A try is one attempt of an exchange at one backend. It holds the backend's
// place from the pick to the end of the response's body.
type try struct {
	exchange *exchange
	entry    *pool.Entry
	way      *way // to it
	place    pool.Place
	start    time.Time
	now      time.Time // when the attempt was looked at last
	ended    sync.Once
	ctx      context.Context    // of the client's request, with the limit of everything
	cancel   context.CancelFunc // nil: there is no such limit
	call     http1.Call         // over the pool's own connections
	answer   answer
	body     body                        // of the answer
	released atomic.Int32                // see left
	answered bool                        // a header has come
	own      bool                        // over the pool's own connections of HTTP/1.1
	traced   func(status int, err error) // ends the attempt's span; nil: there is none
	parent   [1]string                   // value of Traceparent, which says so to the backend
	steered  bool                        // the client, or whoever made its cookie, has picked the backend

	// Through any other transport:
	mu        sync.Mutex
	interrupt context.CancelCauseFunc // guarded by mu against rescue
	timer     *time.Timer             // until the header
	sent      atomic.Bool             // a byte of it may have arrived
	stale     atomic.Bool             // it went over a kept connection, and nothing has come back
}

// request returns the request as it goes out.
func (t *try) request() *http.Request {
	return t.exchange.request(t.ctx, t.way)
}

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

// abandon gives back the place of a try that was not begun.
func (t *try) abandon() {
	t.exchange.pool.view.Abandon(t.entry, &t.place)
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

// release is called twice: when the response has been handed up, and when its body
// has ended, which may be before. With the second call the exchange is over.
func (t *try) release() {
	if t.released.Add(1) < 2 {
		return
	}
	x := t.exchange
	x.pool.inflight.Add(-1)
	if x.spool != nil {
		x.spool.end()
	}
	if x.body != nil {
		_ = x.body.Close() // of what is not read by now nothing is wanted
	}
}

// Rescue ends the wait if the request may be sent elsewhere. It does not wait
// for that to happen.
func (t *try) Rescue() {
	x := t.exchange
	if !x.again() {
		return
	}
	if !x.pool.budget.spend(time.Now(), x.pool.opts.Retries) {
		x.pool.retried.denied.Add(1)
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
