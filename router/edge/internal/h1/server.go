// Package h1 serves HTTP/1.1 on the connections of package wire.
//
// It is to handlers what net/http's server is, and differs in what the end of a
// tier needs: what is malformed is refused in the strict way (package http1)
// with the status that says why, and its owner is told; an answer is held until
// it is worth a write, and can be taken back until then; limits of time cost no
// timer; a client that leaves is noticed without a goroutine that reads; and an
// idle connection has neither buffer nor goroutine.
//
// A connection has one owner at each moment: the goroutine in [Server.Serve],
// the watch while it is parked, the handler that has hijacked it.
package h1

import (
	"context"
	"errors"
	"net"
	"net/http"
	"time"

	"github.com/foretier/foretier/internal/http1"
	"github.com/foretier/foretier/router/edge/internal/wire"
)

// A Server serves connections that others accept. Its fields are set before.
type Server struct {
	Handler http.Handler
	// Head bounds the head of a request.
	Head http1.Limits
	// HeadTime is how long a request's head may take from its first byte, and how
	// long the first byte of a connection may; 0 and less: for ever.
	HeadTime time.Duration
	// BodyStall is how long a request's body may pause; 0 and less: for ever.
	BodyStall time.Duration
	// UpgradeIdle is how long a hijacked connection may be silent; 0 and less:
	// for ever.
	UpgradeIdle time.Duration
	// Prior serves a connection that begins with HTTP/2's preface, of which read was
	// read; it is Prior's to close. Nil: that is no request.
	Prior func(owner Owner, read []byte)
	// Panicked is told of a panic that is no [http.ErrAbortHandler]; nil: nobody
	// is.
	Panicked func(any)

	conns wire.Roster[*conn]
}

// An Owner is told what becomes of a connection that it has handed over.
type Owner interface {
	// Begun is called once something was read, when the client's address is
	// known, and says how long nothing may be asked between two requests (0 and
	// less: for ever), and whether the connection is served at all.
	Begun() (idle time.Duration, ok bool)
	// Unread is called for each request that reaches no handler: it is answered
	// with status, or the connection just ends, if that is 0. line is its first
	// line, or what has come of it.
	Unread(status int, cause, line string)
	// Hijacked is called when a handler has taken the connection over. It is
	// that handler's to close.
	Hijacked()
}

// Serve serves nc, which is the connection w or TLS above it, after its
// handshake; ctx is that of all its requests. It closes nc in the end, perhaps
// after it has returned.
func (s *Server) Serve(ctx context.Context, w *wire.Conn, nc net.Conn, owner Owner) {
	c := newConn(ctx, s, w, nc, owner)
	w.Parks()
	s.conns.Add(c)
	if s.conns.Draining() {
		c.hurry()
	}
	c.run()
}

// Shutdown has each connection end with the request that is on it, or that
// comes at once, and waits for all. If ctx ends before, what is left goes on,
// and Shutdown returns ctx's error.
func (s *Server) Shutdown(ctx context.Context) error {
	return s.conns.Drain(ctx, (*conn).hurry)
}

// Parked returns how many connections have no goroutine: nothing is asked on
// them.
func (s *Server) Parked() int { return s.conns.Parked() }

var errClosed = errors.New("the server has been closed")

// Close closes every connection, and ends the requests on them.
func (s *Server) Close() {
	for _, c := range s.conns.End() {
		_ = c.wire.Close() // who serves it sees that, unless its handler waits for something
		c.gone(errClosed)
	}
}
