package h2

import (
	"bufio"
	"crypto/rand"
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"

	x "golang.org/x/net/http2"

	"github.com/foretier/foretier/internal/fields"
	"github.com/foretier/foretier/internal/http1"
	"github.com/foretier/foretier/internal/http2"
)

// websocket is the only protocol that a stream may be given to.
const websocket = "websocket"

// A tunnel is a stream that a handler has taken over as it would take over a connection of
// HTTP/1.1: a websocket (RFC 8441). What its handler writes first is the head of a 101, as it
// would be there, which the client gets as the 200 that an extended CONNECT is answered with
// (section 5); so whoever can answer an upgrade can answer this one. All that is read and
// written behind it is DATA, the end of a direction END_STREAM.
//
// The client's limits of time give way to one for both directions, [Server.UpgradeIdle].
// It outlives its handler, as a connection that was taken over does, and the request's
// context does not.
type tunnel struct {
	s *stream

	writing sync.Mutex
	head    []byte // guarded by writing: what has come of the head

	refused atomic.Bool // the client was told 502

	open   bool      // the head is out; guarded by the connection's mu, changed while writing is held
	used   time.Time // guarded by the connection's mu: when something was read or written
	closed bool      // guarded by the connection's mu
}

// connect makes r, a GET that came as an extended CONNECT, one for a websocket as HTTP/1.1 has
// it. The key is not the client's: whoever asks so has none (RFC 8441, section 5), and whoever
// has made it judges the answer to it.
func (s *stream) connect(r *http.Request) {
	var nonce [16]byte
	_, _ = rand.Read(nonce[:]) // which never fails
	s.key = base64.StdEncoding.EncodeToString(nonce[:])
	r.Header["Sec-Websocket-Key"] = []string{s.key}
	s.body.want = -1
}

// accepts returns what a server answers to a key of a websocket (RFC 6455, section 4.2.2).
func accepts(key string) string {
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	return base64.StdEncoding.EncodeToString(sum[:])
}

// Hijack serves [http.ResponseController]: see tunnel. Nobody takes over another stream.
func (w *response) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	switch {
	case w.key == "":
		return nil, nil, fmt.Errorf("a stream of HTTP/2 cannot be taken over: %w", http.ErrNotSupported)
	case w.tunnel != nil:
		return nil, nil, http.ErrHijacked
	case w.status != 0 && w.block == nil:
		return nil, nil, errors.New("the answer has begun")
	}
	w.drop()
	s, c := w.s, w.s.c
	t := &tunnel{s: s, used: time.Now()}
	c.mu.Lock()
	w.tunnel = t
	s.body.readBy, s.writeBy = time.Time{}, time.Time{}
	c.tunnels++
	c.srv.tunnels.Add(1)
	give := c.giveLocked()
	c.mu.Unlock()
	if give {
		c.give()
	}
	return t, bufio.NewReadWriter(bufio.NewReader(t), bufio.NewWriter(t)), nil
}

// giveLocked reports whether the connection has become its owner's to end, which is to be
// told: it was told to leave, and has nothing but tunnels any more.
func (c *conn) giveLocked() bool {
	give := c.leaving == parted && !c.given && !c.closed && !c.asking && c.tunnels > 0 && c.tunnels == c.handlers
	c.given = c.given || give
	return give
}

// give tells the owner so.
func (c *conn) give() {
	c.owner.Hijacked()
	c.srv.conns.Remove(c)
}

// Read implements [net.Conn].
func (t *tunnel) Read(p []byte) (int, error) {
	s, c, b := t.s, t.s.c, &t.s.body
	c.mu.Lock()
	defer c.mu.Unlock()
	for b.readyLocked() == 0 {
		switch {
		case t.closed:
			return 0, net.ErrClosed
		case b.end != nil:
			return 0, b.end
		case len(p) == 0:
			return 0, nil
		}
		if waitUntil(&s.cond, t.untilLocked()) && b.readyLocked() == 0 && b.end == nil {
			if until := t.untilLocked(); !until.IsZero() && !time.Now().Before(until) {
				return 0, os.ErrDeadlineExceeded
			}
		}
	}
	if !b.readBy.IsZero() && !time.Now().Before(b.readBy) {
		return 0, os.ErrDeadlineExceeded
	}
	n := b.takeLocked(p)
	t.used = time.Now()
	if b.end == nil {
		c.tellLocked(s.id, &b.intake, n)
	}
	c.tellLocked(0, &c.intake, n)
	if c.out.buf != nil {
		c.carryOnLocked()
	}
	return n, nil
}

// untilLocked returns until when is waited for something to read: until the tunnel has been
// silent for too long. Zero: for ever.
func (t *tunnel) untilLocked() time.Time {
	by := t.s.body.readBy
	if idle := t.s.c.srv.UpgradeIdle; idle > 0 {
		by = earlier(by, t.used.Add(idle))
	}
	return by
}

// Write implements [net.Conn].
func (t *tunnel) Write(p []byte) (int, error) {
	t.writing.Lock()
	defer t.writing.Unlock()
	rest := p
	if !t.open {
		var err error
		if rest, err = t.answer(p); err != nil {
			return 0, err
		}
	}
	if len(rest) > 0 {
		if err := t.s.send(nil, rest, false, nil); err != nil {
			return 0, err
		}
	}
	c := t.s.c
	c.mu.Lock()
	defer c.mu.Unlock()
	t.used = time.Now()
	return len(p), nil
}

// mostSwitch is how long the head of a 101 may be.
const mostSwitch = 64 << 10

// answer takes a part of the head, and answers the client once it is whole: with 502 if it is
// not what was asked for. It returns what is behind it.
func (t *tunnel) answer(p []byte) (rest []byte, err error) {
	t.head = append(t.head, p...)
	var head http1.Head
	n, err := head.ParseResponse(t.head, false, &http1.Limits{Size: mostSwitch})
	switch {
	case err != nil:
		return nil, t.refuse(err)
	case n == 0:
		return nil, nil
	case head.Status != http.StatusSwitchingProtocols || !fields.EqualFold(head.Upgrade, websocket):
		return nil, t.refuse(fmt.Errorf("status %d, and protocol %q", head.Status, head.Upgrade))
	case head.Get("Sec-WebSocket-Accept") != accepts(t.s.key):
		return nil, t.refuse(errors.New("the key was not answered")) // RFC 6455, section 4.1
	}
	block := http2.AppendStatus(nil, http.StatusOK)
	dated := false
	for i := range head.Len() {
		_, name, value := head.Field(i)
		name = http.CanonicalHeaderKey(name)
		if ofConnection(name) || name == "Sec-Websocket-Accept" || name == "Content-Length" || name == "Trailer" {
			continue
		}
		dated = dated || name == "Date"
		block = http2.AppendField(block, name, value)
	}
	if !dated {
		block = appendDate(block, time.Now())
	}
	rest, t.head = t.head[n:], nil
	if err := t.s.send(block, nil, false, nil); err != nil {
		return nil, err
	}
	c := t.s.c
	c.mu.Lock()
	defer c.mu.Unlock()
	t.open = true
	return rest, nil
}

// refuse answers the client that its websocket has come to nothing.
func (t *tunnel) refuse(cause error) error {
	t.head = nil
	t.refused.Store(true)
	block := appendDate(http2.AppendStatus(nil, http.StatusBadGateway), time.Now())
	_ = t.s.send(block, nil, true, nil) // a client that is gone misses nothing
	return fmt.Errorf("no answer to a websocket: %w", cause)
}

// Refused reports whether the client got a 502 in place of its websocket.
func (t *tunnel) Refused() bool { return t.refused.Load() }

// CloseWrite ends the direction to the client.
func (t *tunnel) CloseWrite() error {
	t.writing.Lock()
	defer t.writing.Unlock()
	c := t.s.c
	c.mu.Lock()
	defer c.mu.Unlock()
	switch s := t.s; {
	case t.closed:
		return net.ErrClosed
	case s.failed != nil:
		return s.failed
	case s.ended:
		return nil
	case !t.open:
		return errors.New("the answer has not begun")
	}
	t.finishLocked()
	c.carryOnLocked()
	return nil
}

// finishLocked ends the direction to the client. What the client still sends is read.
func (t *tunnel) finishLocked() {
	s := t.s
	b := s.c.bufferLocked()
	*b = http2.AppendData(*b, s.id, nil, true)
	if s.ended = true; s.body.end != nil {
		s.endLocked()
	}
}

// Close implements [net.Conn]. A write that goes on is given up.
func (t *tunnel) Close() error {
	s, c := t.s, t.s.c
	c.mu.Lock()
	if t.closed {
		c.mu.Unlock()
		return net.ErrClosed
	}
	t.closed, s.returned = true, true
	switch {
	case s.failed != nil:
	case s.queued || !s.ended && !t.open:
		s.closeLocked()
		s.failLocked(net.ErrClosed)
		c.dropLocked(s.id)
		b := c.bufferLocked()
		*b = http2.AppendReset(*b, s.id, x.ErrCodeCancel)
	default:
		if !s.ended {
			t.finishLocked()
		}
		if s.body.end == nil {
			s.endLocked() // which tells the client to keep what it has left
		}
	}
	c.carryOnLocked()
	s.cond.Broadcast()
	c.mu.Unlock()
	return nil
}

// wait waits until nobody uses the tunnel any more.
func (t *tunnel) wait() {
	s, c := t.s, t.s.c
	c.mu.Lock()
	defer c.mu.Unlock()
	for !t.closed && s.failed == nil {
		s.cond.Wait()
	}
}

// LocalAddr implements [net.Conn].
func (t *tunnel) LocalAddr() net.Addr { return t.s.c.nc.LocalAddr() }

// RemoteAddr implements [net.Conn].
func (t *tunnel) RemoteAddr() net.Addr { return t.s.c.nc.RemoteAddr() }

// SetDeadline implements [net.Conn].
func (t *tunnel) SetDeadline(at time.Time) error {
	return errors.Join(t.SetReadDeadline(at), t.SetWriteDeadline(at))
}

// SetReadDeadline implements [net.Conn].
func (t *tunnel) SetReadDeadline(at time.Time) error { return t.s.SetReadDeadline(at) }

// SetWriteDeadline implements [net.Conn].
func (t *tunnel) SetWriteDeadline(at time.Time) error { return t.s.SetWriteDeadline(at) }
