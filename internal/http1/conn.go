package http1

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"os"
	"sync/atomic"
	"syscall"
	"time"
)

// A conn is one connection. It belongs to one call at a time.
type conn struct {
	owner  *Transport
	nc     net.Conn
	raw    syscall.RawConn // nil where there is no socket
	tls    bool            // nc may hold bytes that the socket has handed over
	in     Buffer          // of what the server sent; without memory while the connection idles
	asking *asking         // nil until it was kept for the first time
	born   time.Time
	since  time.Time     // when it became idle
	keep   time.Duration // how long it may idle
	heard  bool          // the server has sent a byte of the current response
	idle   time.Duration // the longest pause of each read; 0: none
	until  time.Time     // when the header must have come; zero: a deadline of nc says it
	by     time.Time     // the deadline of nc, which may be before until; zero if until is
	stall  time.Duration // the longest pause of each write; 0: do has set a deadline
	upload *upload       // of the current request; nil: it was written inline
	broken bool          // the request was not written inline as it should be
	unseen bool          // it was kept, and has to be looked at before anything is sent

	stop        func()      // is interrupt, made once
	interrupted atomic.Bool // whatever deadline is set, nothing is read any more
}

// A secured connection is around another: a tls.Conn.
type secured interface{ NetConn() net.Conn }

func newConn(t *Transport, nc net.Conn) *conn {
	cn := &conn{owner: t, nc: nc, born: time.Now(), keep: KeepIdle}
	socket := nc
	if t, ok := nc.(secured); ok {
		socket, cn.tls = t.NetConn(), true
	}
	if sc, ok := socket.(syscall.Conn); ok {
		cn.raw, _ = sc.SyscallConn() // without it the connection is taken for alive
	}
	cn.stop = cn.Interrupt
	cn.in.Reset(cn)
	cn.in.size = 8 << 10
	return cn
}

// past is a deadline that interrupts whatever waits.
var past = time.Unix(1, 0)

// Interrupt and close can do nothing about an error: the connection is of no
// use any more either way.
func (cn *conn) Interrupt() {
	cn.interrupted.Store(true)
	_ = cn.nc.SetDeadline(past)
}
func (cn *conn) close() { _ = cn.nc.Close() }

// alive reports whether an idle connection is still open, as far as this end
// knows: nothing has arrived, neither its end nor bytes that nobody asked for.
func (cn *conn) alive() bool {
	if cn.raw != nil && !quiet(cn.raw) {
		return false
	}
	if !cn.tls {
		return true
	}
	// What TLS has decrypted already does not wait for the deadline.
	if cn.nc.SetReadDeadline(past) != nil {
		return false
	}
	var b [1]byte
	n, err := cn.nc.Read(b[:])
	return n == 0 && errors.Is(err, os.ErrDeadlineExceeded)
}

var errHeader = fmt.Errorf("the response's header has more than %d bytes", MaxHeader)

// Read is what in reads: the connection, within the limits that hold now.
func (cn *conn) Read(p []byte) (int, error) {
	if cn.idle > 0 {
		if err := cn.nc.SetReadDeadline(time.Now().Add(cn.idle)); err != nil {
			return 0, err
		}
	}
	if cn.interrupted.Load() { // and the deadline may have been lifted since
		return 0, os.ErrDeadlineExceeded
	}
	for {
		n, err := cn.nc.Read(p)
		if n > 0 {
			cn.heard = true
		}
		if n > 0 || err == nil || !cn.early(err) {
			return n, err
		}
	}
}

// A sender is the writing side of a connection, within the limit that holds.
type sender conn

func (s *sender) Write(p []byte) (int, error) {
	if s.stall > 0 {
		if err := s.nc.SetWriteDeadline(time.Now().Add(s.stall)); err != nil {
			return 0, err
		}
		if s.interrupted.Load() {
			return 0, os.ErrDeadlineExceeded
		}
	}
	return s.nc.Write(p)
}

// do sends the call's request, now, and reads the response's header.
func (cn *conn) do(ctx context.Context, call *Call, now time.Time) error {
	cn.heard, cn.idle, cn.stall, cn.upload, cn.broken = false, 0, 0, nil, false
	if err := cn.begin(call.Wait, now); err != nil {
		cn.close()
		return err
	}
	wait := WaitFor(ctx, cn.stop)
	if broken := call.Attach(cn); broken != nil {
		wait.End()
		cn.close()
		return broken
	}
	h, err := cn.exchange(ctx, call)
	if err == nil {
		err = sound(h.Status, call.Header, h.Upgrade)
	}
	if err == nil && h.Status == http.StatusSwitchingProtocols {
		err = cn.open()
	}
	if err == nil {
		err = call.Detach(true)
	}
	if err != nil {
		wait.End()
		cn.close()
		cn.upload.abandon()
		return explain(ctx, call, err, "no response", call.Wait)
	}
	h.keep()
	cn.answer(ctx, call, h, wait)
	return nil
}

// begin bounds the wait for the header of a request over a connection that may have been
// kept. Its deadline is that of the latest request which found none to come: to move one
// with each request costs more than to find, once in a while, that it came too early.
func (cn *conn) begin(wait time.Duration, now time.Time) error {
	if !cn.unseen || wait <= 0 {
		return cn.limit(wait)
	}
	cn.until = now.Add(wait)
	if cn.by.After(now) && !cn.by.After(cn.until) {
		return nil
	}
	cn.by = cn.until
	return cn.nc.SetDeadline(cn.by)
}

// exact makes the deadline what it is meant to be.
func (cn *conn) exact() error {
	if !cn.by.Before(cn.until) {
		return nil
	}
	cn.by = cn.until
	if err := cn.nc.SetDeadline(cn.by); err != nil {
		return err
	}
	if cn.interrupted.Load() { // which has set another, before or after
		return os.ErrDeadlineExceeded
	}
	return nil
}

// early reports whether a wait that ended with err goes on, since only the deadline of a
// request before is over.
func (cn *conn) early(err error) bool {
	return cn.by.Before(cn.until) && errors.Is(err, os.ErrDeadlineExceeded) && time.Now().Before(cn.until) &&
		!cn.interrupted.Load() && cn.exact() == nil
}

// limit bounds both directions.
func (cn *conn) limit(wait time.Duration) error {
	cn.until, cn.by = time.Time{}, time.Time{}
	if wait <= 0 {
		return cn.nc.SetDeadline(time.Time{})
	}
	return cn.nc.SetDeadline(time.Now().Add(wait))
}

// open makes the connection a tunnel, which has no limits of its own.
func (cn *conn) open() error {
	if !cn.upload.done() || cn.broken {
		return errors.New("the server switches protocols inside a request")
	}
	return cn.limit(0)
}

// exchange writes the request and reads responses up to the final one, whose head
// stays in the buffer.
func (cn *conn) exchange(ctx context.Context, call *Call) (*Head, error) {
	var err error
	if cn.unseen {
		cn.unseen = false
		err = cn.ask(call)
	} else {
		err = cn.send(call)
	}
	if err != nil {
		if !mayAnswer(call, err) {
			return nil, err
		}
		cn.broken = true
	}
	h := call.Head
	if h == nil {
		h = new(Head)
	}
	left := MaxHeader // of all responses that tell something beforehand, too
	for {
		if err := cn.readHead(h, call.Request.Method, left); err != nil {
			return nil, err
		}
		left -= h.Size
		cn.in.Discard(h.Size)
		if h.Status < 100 || h.Status >= 200 || h.Status == http.StatusSwitchingProtocols {
			return h, nil
		}
		if err := call.Told(ctx, h); err != nil {
			return nil, err
		}
	}
}

// Told tells of an informational response those who want to know.
func (c *Call) Told(ctx context.Context, h *Head) error {
	trace := httptrace.ContextClientTrace(ctx)
	traced := trace != nil && trace.Got1xxResponse != nil
	if !traced && c.Teller == nil {
		return nil
	}
	header := h.header(h.copy())
	if traced {
		if err := trace.Got1xxResponse(h.Status, textproto.MIMEHeader(header)); err != nil {
			return err
		}
	}
	if c.Teller != nil {
		return c.Teller.Tell(h.Status, header)
	}
	return nil
}

// readHead reads the head of a response of at most limit bytes to a request of this
// method. It stays in the buffer.
func (cn *conn) readHead(h *Head, method string, limit int) error {
	lim := Limits{Size: max(limit, 1)} // 0 would be none
	h.Reset()
	for {
		n, err := h.ParseResponse(cn.in.Bytes(), method == http.MethodHead, &lim)
		if n > 0 {
			return nil
		}
		if err != nil {
			return tooLarge(err)
		}
		if err := cn.in.Fill(); err == io.EOF {
			return h.cutOff(cn.in.Bytes())
		} else if err != nil {
			return err
		}
	}
}

// tooLarge names the refusal of a head for its size as that of a response.
func tooLarge(err error) error {
	var refused *Refusal
	if errors.As(err, &refused) && refused.Status == http.StatusRequestHeaderFieldsTooLarge {
		return errHeader
	}
	return err
}

// mayAnswer reports whether a server that stopped reading the request may have
// said why: it saw at least the head of it.
func mayAnswer(call *Call, err error) bool {
	var client *sourceError
	return call.Sent() && call.Body != nil && !errors.As(err, &client)
}
