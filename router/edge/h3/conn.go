package h3

import (
	"context"
	"sync"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"github.com/foretier/foretier/router/edge"
)

// A conn is a client's connection.
type conn struct {
	srv   *Server
	guest *edge.Guest

	mu      sync.Mutex
	opening bool        // guarded by mu: its handshake is under way
	left    bool        // guarded by mu
	granted int64       // guarded by mu: of Server.granted
	quic    *quic.Conn  // guarded by mu; nil before the handshake is done
	inHand  int         // guarded by mu: requests that a handler has
	leaving bool        // guarded by mu: the client was told to leave
	idle    *time.Timer // guarded by mu: ends the connection; nil: nothing does
}

type connKey struct{}

// connOf returns the connection on which a request or a handshake is, or nil.
func connOf(ctx context.Context) *conn {
	c, _ := ctx.Value(connKey{}).(*conn)
	return c
}

// serve begins to look after q, which has done its handshake. It reports false if there
// is no room.
func (c *conn) serve(q *quic.Conn) bool {
	c.mu.Lock()
	if c.left {
		c.mu.Unlock()
		return false
	}
	c.quic = q
	c.openedLocked()
	c.mu.Unlock()
	s := c.srv
	if !c.guest.Shaken(q.ConnectionState().TLS, func() { c.close(http3.ErrCodeNoError, "") }) {
		return false
	}
	s.mu.Lock()
	s.conns[c] = struct{}{}
	s.mu.Unlock()
	c.mu.Lock()
	gone := c.left
	c.idleLocked()
	c.mu.Unlock()
	if gone {
		c.forget()
	}
	return true
}

// openedLocked says that the handshake has ended.
func (c *conn) openedLocked() {
	if c.opening {
		c.opening = false
		c.srv.opening.Add(-1)
	}
}

// gone says that the connection has ended, before its handshake or later.
func (c *conn) gone() {
	c.mu.Lock()
	c.left = true
	c.srv.granted.Add(-c.granted)
	c.openedLocked()
	if c.idle != nil {
		c.idle.Stop()
	}
	c.mu.Unlock()
	c.guest.Leave()
	c.forget()
}

// widen reports whether n bytes more may wait unread.
func (c *conn) widen(n int64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.left {
		return false
	}
	if c.srv.granted.Add(n) > maxGranted {
		c.srv.granted.Add(-n)
		return false
	}
	c.granted += n
	return true
}

func (c *conn) forget() {
	c.srv.mu.Lock()
	defer c.srv.mu.Unlock()
	delete(c.srv.conns, c)
}

// idleLocked has the connection closed in a while, unless something is asked on it. Its
// last answer may be on its way still, and have to be sent again.
func (c *conn) idleLocked() {
	limit := c.srv.lent.Limits.Idle
	if c.leaving {
		limit = farewell + 4*c.quic.ConnectionStats().SmoothedRTT
	}
	if c.left || limit <= 0 {
		return
	}
	if c.idle == nil {
		c.idle = time.AfterFunc(limit, c.expire)
	} else {
		c.idle.Reset(limit)
	}
}

// farewell is how long a client that was told to leave may take to do so, when nothing
// of it is in hand any more: its last answer may have to be sent again.
const farewell = time.Second

func (c *conn) expire() {
	c.mu.Lock()
	busy := c.inHand > 0
	c.mu.Unlock()
	if !busy {
		c.close(http3.ErrCodeNoError, "idle")
	}
}

// drain has the connection closed soon once it has nothing in hand.
func (c *conn) drain() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.leaving = true
	if c.inHand == 0 {
		c.idleLocked()
	}
}

// close closes the connection.
func (c *conn) close(code http3.ErrCode, why string) {
	c.mu.Lock()
	q := c.quic
	c.mu.Unlock()
	if q != nil {
		_ = q.CloseWithError(quic.ApplicationErrorCode(code), why) // it is closed
	}
}

// begin takes a request in hand, end ends that. There are never more than streams may be
// open: quic-go counts one that its client has given up until its handler has returned.
func (c *conn) begin() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.inHand++; c.inHand == 1 {
		if c.idle != nil {
			c.idle.Stop()
		}
		c.guest.Busy()
	}
}

func (c *conn) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.inHand--; c.inHand == 0 {
		c.guest.Idle()
		c.idleLocked()
	}
}
