package edge

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/foretier/foretier/health"
	"github.com/foretier/foretier/internal/given"
)

// An HTTP3 serves HTTP/3 beside a server's listener, with what is that server's: package
// h3 has one. The server runs it, drains it and shows its report.
type HTTP3 interface {
	health.Reporter
	// Serve serves until Shutdown or Close, and then returns nil; an error is why it
	// serves no more, or has not begun to.
	Serve(Lent) error
	// Shutdown tells clients to leave and waits until their requests have ended. If ctx
	// ends before, it cuts them off and returns its error.
	Shutdown(ctx context.Context) error
	// Close ends everything at once. It is idempotent.
	Close() error
}

// Lent is what a [Server] lends to its [HTTP3].
type Lent struct {
	// Handler serves a request as the server does those of its own: it finds out who the
	// client is, cleans, limits, answers, traces and logs.
	Handler http.Handler
	// TLS is what the server shakes hands with. It is not to be changed.
	TLS *tls.Config
	// Limits are the server's, with their defaults.
	Limits Limits
	// Logger is the server's.
	Logger *slog.Logger
	// Greet makes a connection a guest of the server's before its handshake. The handshake,
	// and the requests on the connection, need a context that descends from what it returns.
	Greet func(ctx context.Context, remote net.Addr) (context.Context, *Guest)
	// Announce has answers say where HTTP/3 is to be found, by an Alt-Svc with this value
	// (RFC 7838), unless they have one; empty: not any more. They never do while the
	// server drains.
	Announce func(altSvc string)
}

// A Guest is a client's connection of which another server looks after the protocol. It
// counts among the connections of the server that it is a guest of, and has to make room
// as they do. It is safe for concurrent use.
type Guest struct {
	srv    *Server
	remote net.Addr
	hello  atomic.Pointer[tls.ClientHelloInfo] // its handshake's, if names ask for different client certificates
	idle   atomic.Int64                        // since when nothing is asked, by the clock of the server's connections; 0: something is

	mu     sync.Mutex
	inside bool   // guarded by mu: it counts
	shaken bool   // guarded by mu
	left   bool   // guarded by mu
	close  func() // guarded by mu: closes the connection, once its handshake is done
}

// guestKey finds the guest on whose connection a request or a handshake is.
type guestKey struct{}

// RemoteAddr returns who is at the other end.
func (g *Guest) RemoteAddr() net.Addr { return g.remote }

// Admit counts the connection, once it is known that its client is where it seems to be.
// It reports false if there is no room, and it is to be closed.
func (g *Guest) Admit() bool {
	g.mu.Lock()
	if g.inside || g.left {
		defer g.mu.Unlock()
		return !g.left
	}
	g.inside = true
	g.mu.Unlock()
	g.srv.stats.conns.Add(1)
	g.srv.stats.open.Add(1)
	return g.srv.crowd.admit(g) && g.srv.crowd.count(g)
}

// Shaken says that the handshake is done, and admits the connection, which close closes.
// From then on it idles, until Busy says otherwise.
func (g *Guest) Shaken(state tls.ConnectionState, close func()) bool {
	g.srv.stats.shaken.Add(1)
	if state.DidResume {
		g.srv.stats.resumed.Add(1)
	}
	g.mu.Lock()
	g.shaken, g.close = true, close
	g.mu.Unlock()
	if !g.Admit() {
		return false
	}
	g.Idle()
	return true
}

// Busy says that something is asked on the connection, Idle that nothing is any more.
func (g *Guest) Busy() { g.idle.Store(0) }

// Idle is what ends Busy.
func (g *Guest) Idle() { g.idle.Store(int64(g.srv.wires.Now())) }

// IdleSince returns since when nothing is asked on the connection, by the server's own
// clock, and whether that is so: the server asks where it needs room for others.
func (g *Guest) IdleSince() (time.Duration, bool) {
	since := g.idle.Load()
	return time.Duration(since), since != 0
}

// turnOut serves [crowd].
func (g *Guest) turnOut() {
	g.mu.Lock()
	close := g.close
	g.mu.Unlock()
	if close != nil { // else it idles not
		go close() // which waits for the connection's own goroutine, and ends then
	}
}

// Leave says that the connection is closed, or that its handshake has failed. It is
// idempotent.
func (g *Guest) Leave() {
	g.mu.Lock()
	left, inside, shaken := g.left, g.inside, g.shaken
	g.left = true
	g.mu.Unlock()
	if left {
		return
	}
	if !shaken {
		g.srv.stats.unshaken.Add(1)
	}
	if inside {
		g.srv.stats.open.Add(-1)
		g.srv.crowd.remove(g)
	}
}

// greet serves [Lent].
func (s *Server) greet(ctx context.Context, remote net.Addr) (context.Context, *Guest) {
	g := &Guest{srv: s, remote: remote}
	// A reverse proxy asks whether it is a server's, which cuts an answer off if told to.
	ctx = context.WithValue(ctx, http.ServerContextKey, s.http)
	return context.WithValue(ctx, guestKey{}, g), g
}

// checkHTTP3 says what HTTP/3 lacks.
func (o *Options) checkHTTP3() error {
	switch {
	case o.HTTP3 == nil:
	case given.Nil(o.HTTP3):
		return errors.New("edge: HTTP3 is a nil pointer: want none, or one of h3.New")
	case !o.secure():
		return errors.New("edge: HTTP3 without TLS: want Certificates, an Issuer or TLS, which QUIC is never without")
	case o.TLS != nil && o.TLS.MaxVersion != 0 && o.TLS.MaxVersion < tls.VersionTLS13:
		return errors.New("edge: HTTP3 with a TLS.MaxVersion below TLS 1.3, which QUIC needs: want none of the two")
	}
	return nil
}

// announce serves [Lent].
func (s *Server) announce(altSvc string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if altSvc == "" || s.phase.Load() != phaseServing {
		s.altSvc.Store(nil)
		return
	}
	s.altSvc.Store(&altSvc)
}

// serveHTTP3 serves until the server shuts HTTP/3 down. What fails ends nothing else.
func (s *Server) serveHTTP3() {
	err := s.opts.HTTP3.Serve(Lent{Handler: s, TLS: s.quicTLS, Limits: s.opts.Limits, Logger: s.opts.Logger, Greet: s.greet, Announce: s.announce})
	s.announce("")
	if err == nil {
		return
	}
	s.opts.Logger.LogAttrs(s.base, slog.LevelError, "HTTP/3 is not served", slog.Any("cause", err))
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failed = append(s.failed, fmt.Sprintf("HTTP/3 is not served: %v", err))
}

// shutdownHTTP3 lets the requests of HTTP/3 end.
func (s *Server) shutdownHTTP3(ctx context.Context) error {
	if s.opts.HTTP3 == nil {
		return nil
	}
	if err := s.opts.HTTP3.Shutdown(ctx); err != nil {
		return fmt.Errorf("edge: requests over HTTP/3 were cut off after %s: %w", s.opts.Drain, err)
	}
	return nil
}
