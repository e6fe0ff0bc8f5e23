package balancer

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/foretier/foretier/balancer/internal/pool"
	"github.com/foretier/foretier/internal/http1"
	"github.com/foretier/foretier/internal/target"
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
