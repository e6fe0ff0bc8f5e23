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
	"sync"
	"sync/atomic"
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

	draining atomic.Bool
	mu       sync.Mutex
	conns    map[*conn]struct{} // guarded by mu
	idle     sync.Cond          // on mu: there are fewer
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
	s.mu.Lock()
	if s.conns == nil {
		s.conns = make(map[*conn]struct{})
		s.idle.L = &s.mu
	}
	s.conns[c] = struct{}{}
	s.mu.Unlock()
	if s.draining.Load() {
		c.hurry()
	}
	c.run()
}

// remove forgets c, which is closed or somebody else's.
func (s *Server) remove(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
	if len(s.conns) == 0 && s.idle.L != nil {
		s.idle.Broadcast()
	}
}

// Shutdown has each connection end with the request that is on it, or that
// comes at once, and waits for all. If ctx ends before, what is left goes on,
// and Shutdown returns ctx's error.
func (s *Server) Shutdown(ctx context.Context) error {
	s.draining.Store(true)
	stop := context.AfterFunc(ctx, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.idle.L != nil {
			s.idle.Broadcast()
		}
	})
	defer stop()
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		c.hurry()
	}
	for len(s.conns) > 0 && ctx.Err() == nil {
		s.idle.Wait()
	}
	if len(s.conns) > 0 {
		return ctx.Err()
	}
	return nil
}

// Parked returns how many connections have no goroutine: nothing is asked on
// them.
func (s *Server) Parked() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for c := range s.conns {
		if c.wire.Parked() {
			n++
		}
	}
	return n
}

var errClosed = errors.New("the server has been closed")

// Close closes every connection, and ends the requests on them.
func (s *Server) Close() {
	s.draining.Store(true)
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		_ = c.wire.Close() // who serves it sees that, unless its handler waits for something
		c.gone(errClosed)
	}
}
