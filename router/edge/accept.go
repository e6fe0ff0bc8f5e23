package edge

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/foretier/foretier/router/edge/internal/h1"
)

// accept accepts connections until l is closed or broken.
func (s *Server) accept(l net.Listener) error {
	pause := time.Duration(0)
	for {
		nc, err := l.Accept()
		if err == nil {
			pause = 0
			s.welcome(nc)
			continue
		}
		s.crowd.exhausted(err)
		var passing interface{ Temporary() bool } // as net/http asks: no descriptors, a client that left
		if !errors.As(err, &passing) || !passing.Temporary() {
			return err
		}
		pause = min(max(5*time.Millisecond, 2*pause), time.Second)
		s.opts.Logger.LogAttrs(context.Background(), slog.LevelDebug, "accept failed", slog.Any("cause", err))
		time.Sleep(pause) // nobody needs to end it sooner
	}
}

// welcome serves nc, if there is room for it.
func (s *Server) welcome(nc net.Conn) {
	c := &conn{Conn: s.wires.Add(nc), srv: s}
	s.stats.conns.Add(1)
	s.stats.open.Add(1)
	// Behind the PROXY protocol the client is known once something was read.
	if !s.crowd.admit(c) || s.opts.Wrap == nil && !s.crowd.count(c) {
		_ = c.Close() // nothing can be done about one that does not close
		return
	}
	s.opening.add(1)
	s.wires.Go(c)
}

// Run implements [wire.Runner].
func (c *conn) Run() { c.srv.open(c) }

// open finds out what a connection speaks, and has it served.
func (s *Server) open(c *conn) {
	nc, proto, err := s.shake(c)
	standard := err == nil && (s.opts.NetHTTP || proto == "h2" && s.opts.NetHTTP2)
	given := standard && s.standard.give(nc)
	s.opening.add(-1)
	switch {
	case given:
	case standard || err != nil || proto == acmeProtocol:
		s.unshaken(c, err)
	case proto == "h2":
		s.h2.Serve(onConn{s.base, c}, c.Conn, nc, nil, c)
	default:
		s.h1.Serve(onConn{s.base, c}, c.Conn, nc, c)
	}
}

// prior has a connection served that speaks HTTP/2 without TLS.
func (s *Server) prior(owner h1.Owner, read []byte) {
	c := owner.(*conn) // those that it was given
	s.h2.Serve(onConn{s.base, c}, c.Conn, c, read, c)
}

// shake returns c, or TLS above it once its handshake is done, and the protocol
// that was agreed on.
func (s *Server) shake(c *conn) (nc net.Conn, proto string, err error) {
	if s.tls == nil {
		return c, "", nil
	}
	secure := tls.Server(c, s.tls)
	if s.opts.NetHTTP {
		return secure, "", nil
	}
	c.Idle(s.opts.Limits.Header)
	if err := secure.HandshakeContext(s.base); err != nil {
		s.stats.unshaken.Add(1)
		return nil, "", err
	}
	c.Allow(0)
	state := secure.ConnectionState()
	s.stats.shaken.Add(1)
	if state.DidResume {
		s.stats.resumed.Add(1)
	}
	return secure, state.NegotiatedProtocol, nil
}

// unshaken ends a connection of which the handshake has failed, or was all of it, or
// that nobody serves any more.
func (s *Server) unshaken(c *conn, err error) {
	var other tls.RecordHeaderError
	if errors.As(err, &other) && other.Conn != nil && looksLikeHTTP(other.RecordHeader) {
		_, _ = io.WriteString(other.Conn, "HTTP/1.0 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nThis port speaks https.\n")
		c.Unread(http.StatusBadRequest, "HTTP where TLS is spoken", "")
	} else if err != nil {
		s.opts.Logger.LogAttrs(context.Background(), slog.LevelDebug, "no TLS handshake", slog.Any("cause", err))
	}
	_ = c.Close() // nothing can be done about one that does not close
}

// looksLikeHTTP reports whether the first five bytes are those of a request.
func looksLikeHTTP(b [5]byte) bool {
	switch string(b[:]) {
	case "GET /", "HEAD ", "POST ", "PUT /", "OPTIO":
		return true
	}
	return false
}

// An onConn is the context of all requests on a connection.
type onConn struct {
	context.Context
	c *conn
}

// Value implements [context.Context].
func (c onConn) Value(key any) any {
	switch key {
	case connKey{}:
		return c.c
	case http.LocalAddrContextKey:
		return c.c.LocalAddr()
	}
	return c.Context.Value(key)
}

// connKey finds the connection on which a request has come.
type connKey struct{}

// openings are the connections of which nobody knows yet what they speak, or what
// else is waited for at the end.
type openings struct {
	mu   sync.Mutex
	n    int           // guarded by mu
	none chan struct{} // guarded by mu: closed once n is 0; nil: nobody waits
}

func (o *openings) add(n int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.n += n; o.n == 0 && o.none != nil {
		close(o.none)
		o.none = nil
	}
}

// subside waits until there are none, or none of them has become known for pause, or
// ctx ends.
func (o *openings) subside(ctx context.Context, pause time.Duration) {
	for before := o.count(); before > 0; {
		once, cancel := context.WithTimeout(ctx, pause)
		err := o.wait(once)
		cancel()
		now := o.count()
		if err == nil || ctx.Err() != nil || now >= before {
			return
		}
		before = now
	}
}

func (o *openings) count() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.n
}

// wait waits until there are none, or returns the error of ctx.
func (o *openings) wait(ctx context.Context) error {
	o.mu.Lock()
	if o.n == 0 {
		o.mu.Unlock()
		return nil
	}
	if o.none == nil {
		o.none = make(chan struct{})
	}
	none := o.none
	o.mu.Unlock()
	select {
	case <-none:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
