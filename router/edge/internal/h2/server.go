// Package h2 serves HTTP/2 (RFC 9113) on the connections of package wire.
//
// It is to handlers what package h1 is: the same requests, answers that are held until
// they are worth a write and can be taken back until then, limits of time that are exact,
// a body that is inert once its handler has returned.
//
// A connection has one goroutine, which reads its frames, and none while nothing is asked
// on it. What can be answered from a request's head alone it answers at once, in the order
// in which it was asked, many answers in one write. Any other request has a goroutine of
// its own, which writes what is ready of all streams if nobody else is writing: so several
// small answers share a write, and no goroutine is there to write alone. Among streams that
// have something to send, RFC 9218 decides who is next; those of which nobody has said
// anything take turns.
//
// What a peer may make the server do for nothing is bounded by one account
// ([http2.Account]); and of the streams that were reset as many handlers may still run as
// streams may be open, beyond which no other is begun. What it may have the server hold is bounded by windows: see
// streamWindow.
//
// A websocket comes by an extended CONNECT (RFC 8441), which handlers get as the GET with
// Upgrade that it would be over HTTP/1.1, and answer as they would that: see tunnel.
package h2

import (
	"context"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/foretier/foretier/internal/http1"
	"github.com/foretier/foretier/router/edge/internal/h1"
	"github.com/foretier/foretier/router/edge/internal/wire"
)

// A Server serves connections that others accept. Its fields are set before.
type Server struct {
	Handler http.Handler
	// Head bounds the head of a request, as it would be in HTTP/1.1.
	Head http1.Limits
	// Streams is how many requests a connection may have at once, and of how many that
	// were reset the handlers may not have returned yet.
	Streams int
	// HeadTime is how long a request's head may take from its first byte, and how
	// long the first byte of a connection may; 0 and less: for ever.
	HeadTime time.Duration
	// BodyStall is how long a request's body may pause; 0 and less: for ever.
	BodyStall time.Duration
	// WriteStall is how long a client may give an answer no window to go on, and how long
	// one that has said nothing for half a minute while something is answered may not
	// answer a PING; 0 and less: for ever.
	WriteStall time.Duration
	// UpgradeIdle is how long a stream that was taken over may be silent; 0 and less:
	// for ever.
	UpgradeIdle time.Duration
	// Panicked is told of a panic that is no [http.ErrAbortHandler]; nil: nobody
	// is.
	Panicked func(any)

	conns   wire.Roster[*conn]
	tunnels atomic.Int64 // that are open
}

// Serve serves nc, which is the connection w or TLS above it, after its handshake, of which
// read was read already; ctx is that of all its requests. It closes nc in the end, perhaps
// after it has returned. Owner is told as package h1's is: that the connection was taken
// over once it was told to leave and has nothing but tunnels any more.
func (s *Server) Serve(ctx context.Context, w *wire.Conn, nc net.Conn, read []byte, owner h1.Owner) {
	c := newConn(ctx, s, w, nc, owner)
	c.in.Append(read)
	w.Parks()
	s.conns.Add(c)
	if s.conns.Draining() {
		c.leave()
	}
	c.run()
}

// Shutdown has each connection end with the requests that are on it, or on their way, and
// waits for all but tunnels, whose end nobody knows: a connection that has nothing else is
// its owner's to end. If ctx ends before, what is left goes on, and Shutdown returns ctx's
// error.
func (s *Server) Shutdown(ctx context.Context) error {
	return s.conns.Drain(ctx, (*conn).leave)
}

// Parked returns how many connections have no goroutine: nothing is asked on
// them.
func (s *Server) Parked() int { return s.conns.Parked() }

// Tunnels returns how many streams handlers have taken over and not closed yet.
func (s *Server) Tunnels() int { return int(s.tunnels.Load()) }

// Close closes every connection, and ends the requests on them.
func (s *Server) Close() {
	for _, c := range s.conns.End() {
		c.cut(errClosed)
	}
}
