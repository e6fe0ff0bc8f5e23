package tcp

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"syscall"
	"time"

	"github.com/foretier/foretier/balancer/internal/relay"
	"github.com/foretier/foretier/balancer/internal/tracker"
)

// acceptPause is how long Serve rests when the process is out of file
// descriptors.
const acceptPause = 50 * time.Millisecond

// Serve accepts connections from l and carries each to a backend that the
// pool's policy picks: every byte, both ways, each end of a half on its own. A
// listener of package tls makes it take TLS, and tls backends make it speak
// TLS: two pools make an encrypted tunnel. A connection that has a method
// HandshakeContext, as those of package tls have, is taken on only after that.
//
// A backend that does not accept the connection is followed by another, as
// long as there is one. One that accepts and ends it within a second, with a
// reset, without a word or before the client has said one, gets nothing new for
// a second, then two, up to sixteen, where another is left, and counts as
// failing if the others do better. A connection that can't be carried is closed
// at once, and one whose backend goes down, or loses the role for which a pool
// of [Pool.Only] uses it, is cut.
//
// When ctx ends, l is closed and the connections are given [Options.Drain]; then
// they are cut. Serve returns nil once all have ended, [ErrClosed] if the
// pool was closed, and else the error of l.
func (p *carrier) Serve(ctx context.Context, l net.Listener) error {
	closing := context.AfterFunc(p.view.Closing, func() { _ = l.Close() })
	defer closing()
	stopping := context.AfterFunc(ctx, func() { _ = l.Close() })
	defer stopping()

	s := &server{of: p}
	s.ctx, s.cut = context.WithCancelCause(context.WithoutCancel(ctx))
	defer s.cut(nil)
	err := s.accept(ctx, l)
	_ = l.Close() // it may have failed by itself
	s.drain()
	return err
}

var errDrained = errors.New("balancer: the listener is closed and the time to drain is over")

// A server is one call of Serve.
type server struct {
	of    *carrier
	ctx   context.Context // of its connections; ends when they are cut
	cut   context.CancelCauseFunc
	conns sync.WaitGroup
}

func (s *server) accept(ctx context.Context, l net.Listener) error {
	p := s.of
	for {
		conn, err := l.Accept()
		switch {
		case err == nil:
		case ctx.Err() != nil:
			return nil
		case p.view.Closing.Err() != nil:
			return ErrClosed
		case errors.Is(err, syscall.ECONNABORTED):
			continue // the client left before it was accepted
		case exhausted(err):
			if more, ok := p.exhausted.Allow(time.Now()); ok {
				p.log.LogAttrs(ctx, slog.LevelError, "cannot accept connections for now", slog.Any("error", err), slog.Int("others", more))
			}
			select {
			case <-time.After(acceptPause):
			case <-ctx.Done():
			}
			continue
		default:
			return fmt.Errorf("balancer: accept: %w", err)
		}
		if limit := p.opts.Conns; p.conns.Add(1) > int64(limit) && limit > 0 {
			_, later := conn.(greeter)
			p.refuse(conn, fmt.Errorf("%w: %d connections are open, as many as may be", ErrBusy, limit), !later)
			p.conns.Add(-1)
			continue
		}
		s.conns.Go(func() {
			defer p.conns.Add(-1)
			s.carry(conn)
		})
	}
}

// drain waits for the connections and cuts those that take too long.
func (s *server) drain() {
	timer := time.AfterFunc(max(s.of.opts.Drain, 0), func() {
		s.cut(errDrained)
	})
	defer timer.Stop()
	s.conns.Wait()
}

// carry serves one client.
func (s *server) carry(client net.Conn) {
	p := s.of
	if err := s.greet(client); err != nil {
		p.refuse(client, err, false)
		return
	}
	l, err := p.connect(s.ctx, client)
	if err != nil {
		p.refuse(client, err, true)
		return
	}
	r := &relay.Relay{Client: client, Backend: l.conn, Idle: p.opts.Idle, HalfOpen: p.opts.HalfOpen, Ended: func(hungUp bool) {
		p.roles.doubt(l.entry)
		if hungUp {
			l.hungUp(time.Now())
		}
	}}
	if !l.onCut(r.Abort) {
		r.Abort(l.cause())
	}
	defer context.AfterFunc(s.ctx, func() { r.Abort(context.Cause(s.ctx)) })()
	err = r.Run()
	switch {
	case r.BackendBroke() && !r.Answered():
		l.finish(tracker.Failed)
	case r.Answered():
		l.finish(tracker.Answered)
	default:
		l.free() // it says nothing about the backend
	}
	p.tell(client, l, r, err)
}

// A greeter is a connection on which something comes before the first byte.
type greeter interface {
	HandshakeContext(context.Context) error
}

// greet finishes what a listener leaves to the first read: a TLS handshake, or
// what else a connection's HandshakeContext does.
func (s *server) greet(client net.Conn) error {
	g, ok := client.(greeter)
	if !ok {
		return nil
	}
	ctx, cancel := context.WithTimeout(s.ctx, s.of.opts.Handshake)
	defer cancel()
	if err := g.HandshakeContext(ctx); err != nil {
		if _, ok := client.(*tls.Conn); ok {
			err = fmt.Errorf("TLS handshake: %w", err)
		}
		return greetError{err}
	}
	return nil
}

// A greetError is a client's failure to begin as it should.
type greetError struct{ error }

func (e greetError) Unwrap() error { return e.error }

// refuse closes a connection that is not carried, and says why: in the log no
// more often than [transit.Lines] allows, because without a primary each client
// comes again at once, and because strangers may come as often as they like.
// The client is told too if it has been greeted, speak.
func (p *carrier) refuse(client net.Conn, why error, speak bool) {
	p.refused.Add(1)
	kind := &p.unserved
	if _, own := errors.AsType[greetError](why); own {
		kind = &p.ungreeted
	}
	if more, ok := kind.Allow(time.Now()); ok {
		p.log.LogAttrs(context.Background(), slog.LevelWarn, "connection refused",
			slog.String("client", remote(client)), slog.Any("error", why), slog.Int("others", more))
	}
	if words := p.opts.Refusal; words != nil && speak {
		// A new connection has room for it; a client that has gone away does
		// not matter.
		_ = client.SetWriteDeadline(time.Now().Add(time.Second))
		_, _ = client.Write(words(why))
		_ = client.Close()
		return
	}
	relay.Abort(client)
}

// tell logs how a connection ended.
func (p *carrier) tell(client net.Conn, l *link, r *relay.Relay, err error) {
	level, text := slog.LevelDebug, "connection ended"
	attrs := []slog.Attr{
		slog.String("client", remote(client)), slog.String("backend", l.entry.Name),
		slog.Float64("after_s", time.Since(l.start).Round(time.Microsecond).Seconds()),
	}
	if err != nil {
		level, text = slog.LevelInfo, "connection broke"
		kind := &p.broken
		moved := errors.Is(err, ErrMoved) // which no client can have written
		if moved || r.BackendBroke() {
			level, kind = slog.LevelWarn, &p.failed
		}
		attrs = append(attrs, slog.Any("error", err))
		if !moved {
			more, ok := kind.Allow(time.Now())
			if !ok {
				return
			}
			attrs = append(attrs, slog.Int("others", more))
		}
	}
	p.log.LogAttrs(context.Background(), level, text, attrs...)
}

// exhausted reports whether err is about this process rather than the
// listener.
func exhausted(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) || errors.Is(err, syscall.ENOBUFS) ||
		errors.Is(err, syscall.ENOMEM)
}

func remote(c net.Conn) string {
	if a := c.RemoteAddr(); a != nil {
		return a.String()
	}
	return "?"
}
