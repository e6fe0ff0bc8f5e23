package h1

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/foretier/foretier/internal/http1"
	"github.com/foretier/foretier/router/edge/internal/scope"
	"github.com/foretier/foretier/router/edge/internal/wire"
)

// A conn is one client's connection.
type conn struct {
	srv    *Server
	owner  Owner
	quick  Quick           // the same; nil: it does not answer from heads
	plain  bool            // what it has said of the request that is served: see Unknown
	ctx    context.Context // of all requests on it
	wire   *wire.Conn
	nc     net.Conn // wire, or TLS above it
	secure *tls.ConnectionState
	remote string

	*work // nil while nothing is asked on it

	first    [1]byte       // of a request, over TLS
	resting  bool          // nothing is asked on it
	ending   bool          // it should end
	after    int           // requests on it since that was so
	begun    atomic.Bool   // something was read on it
	idleTime time.Duration // between two requests
	hijacked bool
	broken   bool         // the client takes nothing any more
	mu       sync.Mutex   // held by those who end it and who goes on: see hurry
	leave    func()       // gone, bound once
	served   sync.Mutex   // held while a request is ended by others
	serving  *scope.Scope // guarded by served: of the request that is served; nil: none is
}

// ErrGone is the cause of a request's context if its client has left.
var ErrGone = errors.New("the client is gone")

func newConn(ctx context.Context, s *Server, w *wire.Conn, nc net.Conn, owner Owner) *conn {
	c := &conn{srv: s, owner: owner, ctx: ctx, wire: w, nc: nc, idleTime: s.HeadTime}
	if t, ok := nc.(*tls.Conn); ok {
		state := t.ConnectionState()
		c.secure = &state
	}
	c.quick, _ = owner.(Quick)
	c.leave = func() { c.gone(ErrGone) }
	return c
}

// Parked implements [wire.Served].
func (c *conn) Parked() bool { return c.wire.Parked() }

// step is what becomes of a connection after a request.
type step uint8

const (
	onward step = iota // to the next request
	over               // it is closed
	away               // somebody else has it
)

// run serves requests until the connection ends or is given away.
func (c *conn) run() {
	s := over // also for a handler that ends its goroutine
	defer func() {
		if s == over {
			c.end()
		}
	}()
	for {
		if s = c.next(); s != onward {
			return
		}
		s = over
	}
}

// end closes the connection.
func (c *conn) end() {
	if c.broken {
		_ = c.wire.Close() // or TLS would say goodbye, for seconds
	}
	_ = errors.Join(c.nc.Close(), c.wire.Close()) // nothing can be done about one that does not close
	if c.work != nil {                            // which a handler that never ends may still have
		c.buf.Discard(c.buf.Buffered())
		c.buf.Free()
	}
	c.srv.conns.Remove(c)
}

// next serves one request.
func (c *conn) next() step {
	if s := c.await(); s != onward {
		return s
	}
	if err := c.read(); err != nil {
		if c.isPrior() {
			c.prior()
			return away
		}
		return c.refuse(err)
	}
	if s, ok := c.instant(); ok {
		return s
	}
	return c.serve()
}

// await waits for the first byte of a request.
func (c *conn) await() step {
	if c.asks() {
		return onward
	}
	if !c.resting { // else the reader was parked
		c.Return()
		c.resting = true
		c.wire.Rest(c.idleTime)
		if c.srv.conns.Draining() {
			c.hurry()
		}
	}
	for {
		err := c.hear()
		if err == nil {
			if c.asks() {
				break
			}
			continue
		}
		c.Return()
		if c.srv.conns.Draining() && errors.Is(err, os.ErrDeadlineExceeded) && !c.wire.Late() && (c.wire.StayAwake() || c.wire.Pending()) {
			c.hurry() // the time was over when a request came, or it was about to park
			continue
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) || !c.wire.ShouldPark() || c.wire.Late() || c.srv.conns.Draining() {
			return over // nothing is asked on it any more: no line for that
		}
		if c.wire.Park(c.run) {
			return away
		}
	}
	c.resting = false
	c.wire.Busy()
	if c.srv.conns.Draining() {
		c.calm()
	}
	return c.begin()
}

// hear waits for the first bytes of a request. TLS is asked for one, and has the
// others at hand then.
func (c *conn) hear() error {
	if c.secure != nil {
		n, err := c.nc.Read(c.first[:])
		if n == 0 {
			return err
		}
		c.Take()[0] = c.first[0]
		c.buf.Filled(1)
		return nil // an error shows again
	}
	n, err := c.wire.ReadLate(c)
	if n == 0 {
		return err
	}
	c.buf.Filled(n)
	return nil // likewise
}

// asks reports whether something of a request is there.
func (c *conn) asks() bool {
	if c.work == nil {
		return false
	}
	c.skipEmpty()
	return c.buf.Buffered() > 0
}

// skipEmpty drops empty lines in front of a request, which ask for nothing. Some
// clients send one behind a body (RFC 9112, section 2.2).
func (c *conn) skipEmpty() {
	for b := c.buf.Bytes(); len(b) > 1 && b[0] == '\r' && b[1] == '\n'; b = b[2:] {
		c.buf.Discard(2)
	}
}

// begin looks at a connection of which the first byte has come: behind the
// PROXY protocol it has told whose it is.
func (c *conn) begin() step {
	if c.begun.Swap(true) {
		return onward
	}
	c.remote = c.nc.RemoteAddr().String()
	idle, ok := c.owner.Begun()
	if c.idleTime = idle; !ok {
		return over
	}
	return onward
}

const (
	freshWait = time.Second           // for the first request of a connection, at the end
	settle    = 50 * time.Millisecond // for any other
)

// hurry ends the connection unless a request is on it, or comes soon.
func (c *conn) hurry() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, idle := c.wire.IdleSince(); !idle {
		return
	}
	wait := settle
	if !c.begun.Load() {
		wait = freshWait
	}
	c.wire.NeverParks()
	_ = c.wire.SetReadDeadline(time.Now().Add(wait)) // a closed connection has ended
	c.wire.Wake()
}

// calm takes back what hurry has done: a request has come.
func (c *conn) calm() {
	c.mu.Lock()
	defer c.mu.Unlock()
	_ = c.wire.SetReadDeadline(time.Time{}) // a closed connection shows when it is read
}

const maxAfter = 100 // requests on a connection that should end

// ends reports whether the connection ends with the answer that goes out now: it
// should, and no other request has come on it. Who has sent several at once is told
// with the last.
func (c *conn) ends() bool {
	if !c.ending && !c.srv.conns.Draining() {
		return false
	}
	c.after++
	return c.after > maxAfter || !c.body.isWhole() || c.buf.Buffered() == 0 && !c.listen.heard() && !c.wire.Pending()
}

// read reads a request's head.
func (c *conn) read() error {
	for waits := false; ; waits = true {
		c.skipEmpty() // of which only half had come
		n, err := c.head.ParseRequest(c.buf.Bytes(), &c.srv.Head)
		if err != nil {
			return err
		}
		if n > 0 {
			c.buf.Discard(n)
			if waits {
				c.wire.Allow(0)
			}
			return nil
		}
		if !waits {
			c.wire.Allow(c.srv.HeadTime)
		}
		if err := c.buf.Fill(); err != nil {
			return c.cutOff(err)
		}
	}
}

// preface is what a connection of HTTP/2 begins with, where its client knows that it is
// spoken here (RFC 9113, section 3.3): a request of a version that is refused.
const preface = "PRI * HTTP/2.0\r\n"

// isPrior reports whether what could not be read is that.
func (c *conn) isPrior() bool {
	return c.srv.Prior != nil && c.secure == nil && bytes.HasPrefix(c.buf.Bytes(), []byte(preface))
}

// prior gives the connection away to who serves HTTP/2.
func (c *conn) prior() {
	read := bytes.Clone(c.buf.Bytes())
	c.buf.Discard(len(read))
	c.Return()
	c.wire.Allow(0)
	c.srv.conns.Remove(c)
	c.srv.Prior(c.owner, read)
}

// cutOff says what has become of a request of which the head did not come.
func (c *conn) cutOff(err error) error {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return &http1.Refusal{Status: http.StatusRequestTimeout, Cause: fmt.Sprintf("the head did not come within %v", c.srv.HeadTime)}
	}
	if err == io.EOF {
		return &http1.Refusal{Status: http.StatusBadRequest, Cause: "cut off inside the head"}
	}
	return &http1.Refusal{Cause: "cut off inside the head: " + err.Error()}
}

// refuse answers what is no request, and ends the connection: where the next
// one begins nobody knows.
func (c *conn) refuse(err error) step {
	no := &http1.Refusal{Status: http.StatusBadRequest, Cause: err.Error()}
	_ = errors.As(err, &no)
	c.owner.Unread(no.Status, no.Cause, c.firstLine())
	if no.Status == 0 {
		return over
	}
	text := strconv.Itoa(no.Status) + " " + http.StatusText(no.Status)
	b := http1.AppendStatus(nil, 1, no.Status)
	b = append(b, "Content-Type: text/plain; charset=utf-8\r\nX-Content-Type-Options: nosniff\r\nCache-Control: no-store\r\nConnection: close\r\n"...)
	b = appendDate(appendLength(b, int64(len(text)+1)))
	b = append(append(append(b, "\r\n"...), text...), '\n')
	if _, err := c.nc.Write(b); err == nil {
		c.linger()
	}
	return over
}

// firstLine is the first line of what was read and is not used yet.
func (c *conn) firstLine() string {
	line, _, _ := bytes.Cut(bytes.TrimLeft(c.buf.Bytes(), "\r\n"), []byte("\n"))
	return string(bytes.TrimSuffix(line[:min(len(line), 8<<10)], []byte("\r")))
}

const (
	lingerAll   = 5 * time.Second // for what a client still sends once it has its answer
	lingerStall = 2 * time.Second // for each piece of that
)

// linger closes in stages (RFC 9112, section 9.6): a connection that is closed
// while its client sends is reset, and takes an answer with it that the client
// has not read yet.
func (c *conn) linger() {
	half, ok := c.nc.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil {
		return
	}
	end := time.Now().Add(lingerAll)
	buf := getBuffer(0)
	defer putBuffer(buf)
	for now := time.Now(); now.Before(end); now = time.Now() {
		until := now.Add(lingerStall)
		if until.After(end) {
			until = end
		}
		if c.nc.SetReadDeadline(until) != nil {
			return
		}
		if _, err := c.nc.Read((*buf)[:cap(*buf)]); err != nil {
			return
		}
	}
}
