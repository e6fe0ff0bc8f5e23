// Package h2 speaks HTTP/2 (RFC 9113) to one backend, over connections that it keeps, as
// package http1 speaks HTTP/1.1: it is given the same calls, and what a backend answers is
// read by the same parser.
//
// Many requests share a connection, as far as the backend lets them. What it has provably
// not looked at is told apart from the rest ([Unprocessed]), since only that may be sent
// again whatever it asks for: streams behind the last one that a GOAWAY names, and those
// that were refused.
//
// A backend is not trusted: what it may have this side hold is bounded by windows and by
// the size of a header, what it makes it do for nothing by an [http2.Account], and whether
// it is there at all is asked by a PING once it is silent.
package h2

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/foretier/foretier/internal/http1"
)

// tries is how often what was not processed is sent to the same backend.
const tries = 3

// An Unprocessed error means that the backend has said that it has not looked at the
// request: by GOAWAY with a lower last stream (RFC 9113, section 6.8) or by REFUSED_STREAM
// (section 8.7).
type Unprocessed struct {
	Cause string
}

func (e *Unprocessed) Error() string { return "the backend has not looked at it: " + e.Cause }

// A Transport keeps connections to one backend, and dials another when none has a place for
// one more request. It is safe for concurrent use.
type Transport struct {
	scheme string
	dial   func(context.Context) (net.Conn, error)

	mu      sync.Mutex
	conns   []*conn  // guarded by mu: those that take requests, the latest last
	dialing *dialing // guarded by mu: nil while nobody dials
}

// A dialing is one dial, for all who wait for a connection. It is over when the backend has
// said how many requests it takes at once: those beyond would be refused.
type dialing struct {
	done chan struct{}
	err  error // read after done
}

// New returns a transport that connects by dial. Requests say that they are for scheme,
// http or https.
func New(scheme string, dial func(context.Context) (net.Conn, error)) *Transport {
	return &Transport{scheme: scheme, dial: dial}
}

// Exchange sends the call's request and returns the reply, which must be closed. Its ending
// of ctx ends everything, the body included.
func (t *Transport) Exchange(ctx context.Context, call *http1.Call) (*Reply, error) {
	block, err := appendCall(make([]byte, 0, 1<<10), call, t.scheme)
	if err != nil {
		return nil, err
	}
	alone := http1.LogsIn(call.Header)
	for n, fresh := 1, false; ; n++ {
		s, err := t.begin(ctx, call, block, alone, fresh)
		if err != nil {
			return nil, err
		}
		r, err := s.exchange(ctx)
		if err == nil {
			return r, nil
		}
		switch {
		case n == tries || ctx.Err() != nil || call.Detach(false) != nil:
			return nil, err
		case unprocessed(err):
			if !whole(call) {
				return nil, err
			}
		case !s.silent || call.Again == nil || !call.Again():
			return nil, err
		default: // the connection was closed while the request was on its way
			fresh = true
		}
		call.SetSent(false)
	}
}

func unprocessed(err error) bool {
	var no *Unprocessed
	return errors.As(err, &no)
}

// whole reports whether all of the call's body can be sent once more.
func whole(call *http1.Call) bool { return call.Body == nil || call.Whole == nil || call.Whole() }

// RoundTrip implements [http.RoundTripper], without limits of time.
func (t *Transport) RoundTrip(r *http.Request) (*http.Response, error) {
	call := &http1.Call{Request: r, Header: r.Header, Trailer: slices.Collect(maps.Keys(r.Trailer)), Whole: never}
	if r.Body != nil && r.Body != http.NoBody {
		call.Body = func() io.ReadCloser { return r.Body }
	}
	reply, err := t.Exchange(r.Context(), call)
	if err != nil {
		return nil, err
	}
	return reply.Response(), nil
}

func never() bool { return false }

// begin puts the call on a connection: one of its own if it is to be alone, a new one if it
// is to be fresh.
func (t *Transport) begin(ctx context.Context, call *http1.Call, block []byte, alone, fresh bool) (*stream, error) {
	if alone || fresh {
		c, err := t.connect(ctx, nil)
		if err != nil {
			return nil, err
		}
		s := c.open(call, block, false, alone)
		if s == nil {
			return nil, errGone
		}
		if !alone {
			t.keep(c)
		}
		return s, nil
	}
	for {
		t.mu.Lock()
		if s := t.takeLocked(call, block, time.Now()); s != nil {
			t.mu.Unlock()
			return s, nil
		}
		d := t.dialing
		if d == nil {
			return t.dialLocked(ctx, call, block)
		}
		t.mu.Unlock()
		if err := d.wait(ctx, call.Wait); err != nil {
			return nil, err
		}
	}
}

// wait waits until the dial is over, for limit at most if that is more than 0.
func (d *dialing) wait(ctx context.Context, limit time.Duration) error {
	var late <-chan time.Time
	if limit > 0 {
		timer := time.NewTimer(limit)
		defer timer.Stop()
		late = timer.C
	}
	select {
	case <-d.done:
		return d.err
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-late:
		return &http1.TimeoutError{What: "no connection", Limit: limit}
	}
}

// dialed says that a dial is over.
func (t *Transport) dialed(d *dialing) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.dialing == d {
		t.dialing = nil
	}
	close(d.done)
}

var errGone = fmt.Errorf("a connection that has just come about has ended: %w", io.ErrUnexpectedEOF)

// dialLocked dials for all who wait, and unlocks mu.
func (t *Transport) dialLocked(ctx context.Context, call *http1.Call, block []byte) (*stream, error) {
	d := &dialing{done: make(chan struct{})}
	t.dialing = d
	t.mu.Unlock()
	c, err := t.connect(ctx, d)
	if err != nil {
		if ctx.Err() == nil { // else it is this caller's affair alone
			d.err = err
		}
		t.dialed(d)
		return nil, err
	}
	s := c.open(call, block, false, false)
	if s == nil {
		return nil, errGone
	}
	t.keep(c)
	return s, nil
}

// connect returns a new connection, which says that d is over, unless that is nil.
func (t *Transport) connect(ctx context.Context, d *dialing) (*conn, error) {
	nc, err := t.dial(ctx)
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		return nil, err
	}
	return newConn(t, nc, d), nil
}

func (t *Transport) keep(c *conn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.conns = append(t.conns, c)
}

// takeLocked puts the call on a connection that has a place, the latest first, and forgets
// those that take no more.
func (t *Transport) takeLocked(call *http1.Call, block []byte, now time.Time) (s *stream) {
	t.conns = slices.DeleteFunc(t.conns, func(c *conn) bool { return c.over(now) })
	for _, c := range slices.Backward(t.conns) {
		if call.Fresh && c.stale(now) {
			continue
		}
		if s = c.open(call, block, true, false); s != nil {
			return s
		}
	}
	return nil
}

// CloseIdleConnections closes the connections that nobody uses.
func (t *Transport) CloseIdleConnections() {
	t.mu.Lock()
	conns := slices.Clone(t.conns)
	t.mu.Unlock()
	for _, c := range conns {
		c.closeIdle()
	}
}
