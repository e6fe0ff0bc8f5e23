package http1

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/foretier/foretier/internal/fields"
)

// A conn is one connection. It belongs to one call at a time.
type conn struct {
	owner  *Transport
	nc     net.Conn
	raw    syscall.RawConn // nil where there is no socket
	tls    bool            // nc may hold bytes that the socket has handed over
	in     Buffer          // of what the server sent; without memory while the connection idles
	reply  Head            // of the response that is read
	asking *asking         // nil until it was kept for the first time
	bw     *bufio.Writer
	born   time.Time
	since  time.Time     // when it became idle
	keep   time.Duration // how long it may idle
	heard  bool          // the server has sent a byte of the current response
	idle   time.Duration // the longest pause of each read; 0: none
	stall  time.Duration // the longest pause of each write; 0: do has set a deadline
	upload *upload       // of the current request; nil: it was written inline
	broken bool          // the request was not written inline as it should be
	unseen bool          // it was kept, and has to be looked at before anything is sent

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
	cn.in.Reset(cn)
	cn.in.size = 8 << 10
	cn.bw = bufio.NewWriterSize((*sender)(cn), 4<<10)
	return cn
}

// past is a deadline that interrupts whatever waits.
var past = time.Unix(1, 0)

// interrupt and close can do nothing about an error: the connection is of no
// use any more either way.
func (cn *conn) interrupt() {
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
	n, err := cn.nc.Read(p)
	if n > 0 {
		cn.heard = true
	}
	return n, err
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

// do sends the call's request and reads the response's header.
func (cn *conn) do(ctx context.Context, call *Call) (*http.Response, error) {
	cn.heard, cn.idle, cn.stall, cn.upload, cn.broken = false, 0, 0, nil, false
	if err := cn.limit(call.Wait); err != nil {
		cn.close()
		return nil, err
	}
	stop := context.AfterFunc(ctx, cn.interrupt)
	if broken := call.attach(cn); broken != nil {
		stop()
		cn.close()
		return nil, broken
	}
	res, err := cn.exchange(ctx, call)
	if err == nil {
		err = Sound(call.Header, res)
	}
	if err == nil && res.StatusCode == http.StatusSwitchingProtocols {
		err = cn.open()
	}
	if err == nil {
		err = call.detach(true)
	}
	if err != nil {
		stop()
		cn.close()
		cn.upload.abandon()
		return nil, explain(ctx, call, err, "no response", call.Wait)
	}
	cn.answer(ctx, call, res, stop)
	return res, nil
}

// limit bounds both directions.
func (cn *conn) limit(wait time.Duration) error {
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

// exchange writes the request and reads responses up to the final one.
func (cn *conn) exchange(ctx context.Context, call *Call) (*http.Response, error) {
	send := cn.send
	if cn.unseen {
		cn.unseen, send = false, cn.ask
	}
	if err := send(call); err != nil {
		if !mayAnswer(call, err) {
			return nil, err
		}
		cn.broken = true
	}
	left := MaxHeader // of all responses that tell something beforehand, too
	for {
		if err := cn.readHead(call.Request.Method, left); err != nil {
			return nil, err
		}
		h := &cn.reply
		left -= h.Size
		cn.in.Discard(h.Size)
		if h.Status < 100 || h.Status >= 200 || h.Status == http.StatusSwitchingProtocols {
			return h.Response(call.Request, nil), nil
		}
		if t := httptrace.ContextClientTrace(ctx); t != nil && t.Got1xxResponse != nil {
			if err := t.Got1xxResponse(h.Status, textproto.MIMEHeader(h.header(h.copy(), nil))); err != nil {
				return nil, err
			}
		}
	}
}

// readHead reads the head of a response of at most limit bytes to a request of this
// method. It stays in the buffer.
func (cn *conn) readHead(method string, limit int) error {
	lim := Limits{Size: max(limit, 1)} // 0 would be none
	cn.reply.Reset()
	for {
		n, err := cn.reply.ParseResponse(cn.in.Bytes(), method == http.MethodHead, &lim)
		if n > 0 {
			return nil
		}
		var refused *Refusal
		if errors.As(err, &refused) && refused.Status == http.StatusRequestHeaderFieldsTooLarge {
			return errHeader
		}
		if err != nil {
			return err
		}
		if err := cn.in.Fill(); err == io.EOF {
			return cn.reply.cutOff(cn.in.Bytes())
		} else if err != nil {
			return err
		}
	}
}

// mayAnswer reports whether a server that stopped reading the request may have
// said why: it saw at least the head of it.
func mayAnswer(call *Call, err error) bool {
	var client *sourceError
	return call.Sent() && call.Body != nil && !errors.As(err, &client)
}

// answer makes res the call's: its body ends with the connection's return.
func (cn *conn) answer(ctx context.Context, call *Call, res *http.Response, stop func() bool) {
	cn.learn(res)
	if old := res.ProtoMinor == 0; old != cn.owner.old.Load() {
		cn.owner.old.Store(old)
	}
	if res.StatusCode == http.StatusSwitchingProtocols {
		res.Body = &tunnel{cn: cn, stop: stop}
		return
	}
	b := &body{cn: cn, ctx: ctx, call: call, stop: stop, last: res.Close || bodyAfterNone(res) || call.login || LoggedIn(res.Header)}
	b.src.Reset(&cn.in, &cn.reply)
	b.src.Trailer = &res.Trailer
	if b.src.Ended() {
		b.end(true)
		res.Body = http.NoBody
		return
	}
	if err := cn.nc.SetReadDeadline(time.Time{}); err != nil {
		b.last = true // what is read next tells
	}
	cn.idle = max(call.Idle, 0)
	res.Body = b
}

// bodyAfterNone reports whether a server announces a body where there can't be
// one: it might send it, and it would be read as the next response.
func bodyAfterNone(res *http.Response) bool {
	length := res.Header.Get("Content-Length")
	return res.StatusCode == http.StatusNoContent && (length != "" && length != "0" || len(res.TransferEncoding) > 0)
}

// learn takes the server's word for how long it keeps idle connections, less a
// second for the way.
func (cn *conn) learn(res *http.Response) {
	for p := range fields.Members(res.Header["Keep-Alive"]) {
		name, value, _ := strings.Cut(p, "=")
		if !fields.EqualFold(strings.TrimSpace(name), "timeout") {
			continue
		}
		if n, err := strconv.Atoi(strings.TrimSpace(value)); err == nil && n >= 0 {
			cn.keep = min(KeepIdle, time.Duration(n-1)*time.Second)
		}
	}
}

// A body is a response's body, at the end of which the connection is kept or
// closed.
type body struct {
	cn   *conn
	ctx  context.Context // of the call, for the cause of an error
	call *Call
	src  Body
	stop func() bool
	last bool // the connection's last response
	once sync.Once
}

func (b *body) Read(p []byte) (int, error) {
	n, err := b.src.Read(p)
	if err == nil {
		return n, nil
	}
	b.end(err == io.EOF)
	if err != io.EOF {
		err = explain(b.ctx, b.call, err, "nothing inside the response", b.call.Idle)
	}
	return n, err
}

// An Arriving body is one of this package's responses.
type Arriving interface {
	// Whole reports whether all of it is here already. It is asked before the
	// first Read.
	Whole() bool
}

// Whole reports whether all of the body is here already, so that nothing can go
// wrong with it any more. It is asked before the first Read.
func (b *body) Whole() bool {
	here := b.cn.in.Bytes()
	if left := b.src.Left(); left >= 0 {
		return int64(len(here)) >= left
	}
	return b.cn.reply.Length == chunked && wholeChunks(here)
}

// wholeChunks reports whether b holds a chunked body to its end (RFC 9112,
// section 7.1). What is malformed is not: who reads it will say so.
func wholeChunks(b []byte) bool {
	for {
		line, rest, ok := bytes.Cut(b, []byte("\n"))
		if !ok {
			return false
		}
		digits, _, _ := bytes.Cut(line, []byte(";"))
		size, err := strconv.ParseUint(string(bytes.TrimSpace(digits)), 16, 31)
		if err != nil {
			return false
		}
		if b = rest; size > 0 {
			if len(b) < int(size)+2 {
				return false
			}
			b = b[size+2:]
			continue
		}
		for { // trailers
			line, rest, ok := bytes.Cut(b, []byte("\n"))
			if !ok {
				return false
			}
			if b = rest; len(bytes.TrimSuffix(line, []byte("\r"))) == 0 {
				return true
			}
		}
	}
}

// Close gives up what was not read.
func (b *body) Close() error {
	b.end(false)
	return nil
}

func (b *body) end(whole bool) {
	b.once.Do(func() {
		cn := b.cn
		live := b.stop() // nobody interrupts it any more
		// A Close may come while another goroutine reads: what reading changes
		// is looked at only at the body's end.
		if !whole || !live || b.last || cn.broken || cn.keep <= 0 || cn.in.Buffered() > 0 || !cn.upload.done() {
			cn.close()
			cn.upload.abandon()
			return
		}
		cn.reply.Reset()
		cn.in.Free()
		cn.owner.put(cn)
	})
}

// A tunnel is the body of a 101: the connection itself.
type tunnel struct {
	cn   *conn
	stop func() bool
	once sync.Once
}

func (t *tunnel) Read(p []byte) (int, error) {
	t.cn.in.Free() // or it would hold memory while nobody says anything
	return t.cn.in.Read(p)
}

func (t *tunnel) Write(p []byte) (int, error) { return t.cn.nc.Write(p) }

// Close closes the connection.
func (t *tunnel) Close() error {
	t.once.Do(func() { t.stop() })
	return t.cn.nc.Close()
}

// A halfCloser ends one direction of a connection: TCP, TLS, Unix sockets.
type halfCloser interface{ CloseWrite() error }

// CloseWrite ends the direction to the server.
func (t *tunnel) CloseWrite() error {
	if c, ok := t.cn.nc.(halfCloser); ok {
		return c.CloseWrite()
	}
	return errors.ErrUnsupported
}
