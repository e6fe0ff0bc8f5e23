// Package http1 speaks HTTP/1.1 to one server, over connections that it keeps.
//
// It differs from [http.Transport] in what a gateway needs: a connection is
// served by the goroutine of its caller instead of two of its own; the caller
// learns whether anything was sent; an idle connection is looked at before it
// is used, and not kept for longer than its server said it would; what must not
// be executed twice is never sent on a connection that idled long; and one that
// may be logged in, by NTLM or Negotiate, is closed after the answer.
//
// It also holds what both sides of a connection stand on: [Head] reads heads in
// place, a client's strictly and a server's as net/http does; [Body] reads what
// follows, and no byte beyond; [Buffer] has what was read and not used, and no
// memory while that is nothing; the Append functions write answers.
package http1

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// The limits of a connection's life.
const (
	MaxIdle    = 32                     // connections kept idle; more would hold the workers of a small server
	MoreIdle   = 100 * time.Millisecond // how long those beyond MaxIdle are kept, so that as many as are in hand are not dialled again and again
	KeepIdle   = 4 * time.Second        // how long, at most: many servers close theirs after five
	FreshIdle  = time.Second            // how long, for a request that must not be executed twice
	MaxAge     = 5 * time.Minute        // of a connection, so that a changed address is noticed
	MaxHeader  = 1 << 20                // bytes of a response's header, and of what is told before it
	InlineBody = 64 << 10               // bytes of a request's body up to which it is written before the response is read
	late       = 10 * time.Millisecond  // by which the sweep of idle connections may be, so that it takes several at once
	grace      = 100 * time.Millisecond // to read what a server has said that takes nothing any more
)

// A TimeoutError means that the server took longer than the call allows.
type TimeoutError struct {
	What  string // did not come
	Limit time.Duration
}

func (e *TimeoutError) Error() string { return fmt.Sprintf("%s for %v", e.What, e.Limit) }

// Timeout is true, as for errors of package net.
func (e *TimeoutError) Timeout() bool { return true }

// A Transport keeps connections to one server: as many as are in hand, the latest to
// become idle taken first, so that those beyond [MaxIdle] are closed once they were not
// needed for [MoreIdle]. It is safe for concurrent use.
type Transport struct {
	dial func(context.Context) (net.Conn, error)
	old  atomic.Bool // the latest answer was HTTP/1.0

	mu    sync.Mutex
	idle  []*conn     // guarded by mu: the latest last
	sweep *time.Timer // guarded by mu: closes what idled too long; nil until something idled
	due   time.Time   // guarded by mu: when sweep comes; zero while nothing idles
}

// New returns a transport that connects by dial.
func New(dial func(context.Context) (net.Conn, error)) *Transport { return &Transport{dial: dial} }

// A Teller is told of informational responses, by the goroutine of the call. Its error
// ends that.
type Teller interface {
	Tell(status int, header http.Header) error
}

// A Call is one request and what its sender wants to know. It is used once.
type Call struct {
	Request *http.Request // its method, host, URL and length; not its Header and Body
	Header  http.Header   // what is sent in its place; only read
	Base    string        // goes in front of the path, escaped
	// Trailer names the fields of the request's Trailer that are sent, after a
	// body of unknown length. They are read once the body has ended: until then
	// its reader may add to them, also such as nobody has announced.
	Trailer []string
	// Body returns a reader of the whole body, for each time it is sent. Nil:
	// there is none.
	Body func() io.ReadCloser
	// Here says that the body is there already, as long as the request says: reading it
	// does not wait.
	Here bool
	// Uploads counts the goroutines that read what Body returns, which may be
	// at work when the response has come. Whoever waits for it first ends what
	// they read, and the response's body. Nil: nobody waits.
	Uploads *sync.WaitGroup
	// Again reports whether the request may be sent a second time, over a new
	// connection, when a kept one turns out to have been closed.
	Again func() bool
	// Whole reports whether Body would return all of it once more: what a server has
	// provably not looked at is sent again then. Nil: it would.
	Whole func() bool
	// Teller is told each informational response. Nil: nobody is.
	Teller Teller
	// Page is up to how many bytes of a body are read before the response is handed on,
	// chunks and all, as far as they have come by then. 0: what has come with the head.
	Page int
	// Head is the memory that the response's head is read into. It belongs to the
	// call until the body has been read or closed. Nil: the call has its own.
	Head  *Head
	Now   time.Time     // when it begins; zero: that is looked up
	Fresh bool          // not on a connection that idled for [FreshIdle]
	Wait  time.Duration // from the end of the request to the response's header; 0 and less: no limit
	Idle  time.Duration // the longest pause inside the response's body; 0 and less: no limit

	head     []byte // of the request, as it is sent
	enclosed bool   // the body is behind it
	login    bool   // it may log the connection in, which then serves nobody else
	reply    Reply
	sent     atomic.Bool
	mu       sync.Mutex
	conn     Interrupter // guarded by mu: what it is on while it waits for the header; nil: it does not
	broken   error       // guarded by mu: why it was aborted
	answered bool        // guarded by mu: the header came
}

// Sent reports whether any byte of the request may have reached the server.
func (c *Call) Sent() bool { return c.sent.Load() }

// SetSent says whether any may have: false once it is sure that none was looked at.
func (c *Call) SetSent(sent bool) { c.sent.Store(sent) }

// Abort ends the wait for the response's header, with cause as the error. It
// does nothing once the header came; before there is a connection the call
// ends as soon as there is one.
func (c *Call) Abort(cause error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.answered || c.broken != nil {
		return
	}
	c.broken = cause
	if c.conn != nil {
		c.conn.Interrupt()
	}
}

// An Interrupter is a connection of which a call waits for something, or a stream of one.
type Interrupter interface {
	// Interrupt has the wait end at once. It must not wait.
	Interrupt()
}

// Attach says that the call waits on cn. It returns why the call was aborted
// meanwhile, if it was.
func (c *Call) Attach(cn Interrupter) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.conn = cn
	return c.broken
}

// Detach says that the call waits no more, because its header came or because
// it failed. It returns why the call was aborted, if it was.
func (c *Call) Detach(answered bool) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.conn = nil
	c.answered = c.answered || answered && c.broken == nil
	return c.broken
}

// Do sends the call's request and returns the response, whose body must be
// closed. Its ending of ctx ends everything, the body included.
func (t *Transport) Do(ctx context.Context, call *Call) (*http.Response, error) {
	reply, err := t.Exchange(ctx, call)
	if err != nil {
		return nil, err
	}
	return reply.Response(), nil
}

// Exchange is Do for who wants no [http.Response]. The reply must be closed.
func (t *Transport) Exchange(ctx context.Context, call *Call) (*Reply, error) {
	room := Memory(call.room())
	defer GiveBack(room)
	if err := call.write(room[:0]); err != nil {
		return nil, err
	}
	if err := call.enclose(); err != nil {
		return nil, cmp.Or(context.Cause(ctx), err)
	}
	now := call.Now
	for fresh := false; ; now = (time.Time{}) {
		if now.IsZero() {
			now = time.Now()
		}
		cn := t.take(call, fresh, now)
		reused := cn != nil
		if !reused {
			nc, err := t.dial(ctx)
			if err != nil {
				return nil, cmp.Or(context.Cause(ctx), err)
			}
			cn = newConn(t, nc)
		}
		err := cn.do(ctx, call, now)
		if err == nil {
			return &call.reply, nil
		}
		var late *TimeoutError
		silent := reused && !cn.heard && !errors.As(err, &late) && ctx.Err() == nil && call.Detach(false) == nil
		if !silent || call.Sent() && (call.Again == nil || !call.Again()) {
			return nil, err
		}
		// The server closed it while the request was on its way: on a new
		// connection it gets a fair hearing. Or before: others are looked at.
		fresh = err != errClosed
		call.sent.Store(false)
	}
}

// NoChunks reports whether the server answered in HTTP/1.0 when it was last
// asked, so that it must not be sent a body of unknown length (RFC 9112, section
// 6.1).
func (t *Transport) NoChunks() bool { return t.old.Load() }

// RoundTrip implements [http.RoundTripper], without limits of time.
func (t *Transport) RoundTrip(r *http.Request) (*http.Response, error) {
	call := &Call{Request: r, Header: r.Header, Trailer: slices.Collect(maps.Keys(r.Trailer))}
	if r.Body != nil && r.Body != http.NoBody {
		call.Body = func() io.ReadCloser { return r.Body }
	}
	return t.Do(r.Context(), call)
}

// take returns an idle connection that may be used for call, the latest first, or nil.
func (t *Transport) take(call *Call, none bool, now time.Time) *conn {
	if none {
		return nil
	}
	for {
		t.mu.Lock()
		n := len(t.idle)
		if n == 0 || call.Fresh && now.Sub(t.idle[n-1].since) >= FreshIdle {
			t.mu.Unlock()
			return nil
		}
		cn := t.idle[n-1]
		t.idle[n-1] = nil
		t.idle = t.idle[:n-1]
		t.mu.Unlock()
		if now.Sub(cn.since) < cn.keep && now.Sub(cn.born) < MaxAge {
			if cn.unseen = cn.looksLate(call); cn.unseen || cn.alive() {
				return cn
			}
		}
		cn.close()
	}
}

// put makes a connection idle, to be taken for another request.
func (t *Transport) put(cn *conn) {
	now := time.Now()
	if now.Sub(cn.born) >= MaxAge {
		cn.close()
		return
	}
	cn.since = now
	t.mu.Lock()
	defer t.mu.Unlock()
	t.idle = append(t.idle, cn)
	next := cn.keep
	if len(t.idle) > MaxIdle {
		next = min(next, MoreIdle)
	}
	t.wakeLocked(now, next)
}

// wakeLocked has the sweep come when next is over, if it does not come before.
func (t *Transport) wakeLocked(now time.Time, next time.Duration) {
	next += late
	due := now.Add(next)
	if !t.due.IsZero() && !due.Before(t.due) {
		return
	}
	t.due = due
	if t.sweep == nil {
		t.sweep = time.AfterFunc(next, t.expire)
	} else {
		t.sweep.Reset(next)
	}
}

// expire closes what idled too long, and comes again while anything idles.
func (t *Transport) expire() {
	now := time.Now()
	t.mu.Lock()
	old, next := t.dropLocked(now)
	t.due = time.Time{}
	if len(t.idle) > 0 {
		t.wakeLocked(now, next)
	}
	t.mu.Unlock()
	for _, cn := range old {
		cn.close()
	}
}

// dropLocked takes out what idled too long, and returns when the next will have.
func (t *Transport) dropLocked(now time.Time) (old []*conn, next time.Duration) {
	kept := 0
	next = KeepIdle
	for i, cn := range slices.Backward(t.idle) {
		keep := cn.keep
		if kept >= MaxIdle { // others, which idle for less
			keep = min(keep, MoreIdle)
		}
		if left := keep - now.Sub(cn.since); left > 0 {
			kept++
			next = min(next, left)
		} else {
			old = append(old, cn)
			t.idle[i] = nil
		}
	}
	t.idle = slices.DeleteFunc(t.idle, func(cn *conn) bool { return cn == nil })
	return old, next
}

// CloseIdleConnections closes the connections that nobody uses.
func (t *Transport) CloseIdleConnections() {
	t.mu.Lock()
	idle := t.idle
	t.idle = nil
	if t.sweep != nil {
		t.sweep.Stop()
		t.due = time.Time{}
	}
	t.mu.Unlock()
	for _, cn := range idle {
		cn.close()
	}
}

// explain names the error by its first cause.
func explain(ctx context.Context, call *Call, err error, what string, limit time.Duration) error {
	if broken := call.Detach(false); broken != nil {
		return broken
	}
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return &TimeoutError{what, limit}
	}
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		return fmt.Errorf("the server closed the connection: %w", io.ErrUnexpectedEOF)
	}
	return err
}
