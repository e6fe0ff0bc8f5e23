package edge

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync"
)

// What net/http's server serves, where that is asked for.

// http returns the standard server's configuration for these options.
func (o *Options) http(h http.Handler) *http.Server {
	limits := o.Limits
	maxHeader := 1 << 20
	if limits.Headers > 0 && limits.Target > 0 {
		// The handler measures both on its own, to say which was too large.
		maxHeader = limits.Headers + limits.Target
	}
	return &http.Server{
		Handler:                      h,
		ConnContext:                  connContext,
		DisableGeneralOptionsHandler: true,
		ReadHeaderTimeout:            max(limits.Header, 0),
		IdleTimeout:                  max(limits.Idle, 0),
		MaxHeaderBytes:               maxHeader,
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams: limits.Streams,
			SendPingTimeout:      max(limits.WriteStall/4, 0),
			WriteByteTimeout:     max(limits.WriteStall, 0),
		},
		ErrorLog: slog.NewLogLogger(o.Logger.Handler(), slog.LevelDebug),
	}
}

// connContext lets a request find the connection on which it has come.
func connContext(ctx context.Context, nc net.Conn) context.Context {
	if c := connOf(nc); c != nil {
		return context.WithValue(ctx, connKey{}, c)
	}
	return ctx
}

// connOf returns the connection that nc is, or is TLS above.
func connOf(nc net.Conn) *conn {
	if t, ok := nc.(*tls.Conn); ok {
		nc = t.NetConn()
	}
	c, _ := nc.(*conn)
	return c
}

// state tells which of the standard server's connections idle.
func (s *Server) state(nc net.Conn, state http.ConnState) {
	c := connOf(nc)
	if c == nil {
		return
	}
	switch state {
	case http.StateIdle:
		c.Idle(0)
	case http.StateActive:
		c.Busy()
		if !c.begun.Swap(true) {
			if _, ok := c.Begun(); !ok {
				_ = c.Conn.Close() // nothing can be done about one that does not close
			}
		}
	case http.StateHijacked:
		c.Hijacked()
		c.Roll(s.opts.Limits.UpgradeIdle)
	}
}

// A handover is the listener from which the standard server gets connections.
type handover struct {
	conns chan net.Conn
	ended chan struct{}
	once  sync.Once
}

func newHandover() *handover {
	return &handover{conns: make(chan net.Conn), ended: make(chan struct{})}
}

// give hands nc over, and reports whether somebody takes it.
func (h *handover) give(nc net.Conn) bool {
	select {
	case h.conns <- nc:
		return true
	case <-h.ended:
		return false
	}
}

// Accept implements [net.Listener].
func (h *handover) Accept() (net.Conn, error) {
	select {
	case nc := <-h.conns:
		return nc, nil
	case <-h.ended:
		return nil, net.ErrClosed
	}
}

// Close implements [net.Listener].
func (h *handover) Close() error {
	h.once.Do(func() { close(h.ended) })
	return nil
}

// Addr implements [net.Listener].
func (*handover) Addr() net.Addr { return nil } // nobody asks

// serveStandard serves what is handed over, until that ends.
func (s *Server) serveStandard() {
	err := s.http.Serve(s.standard)
	if !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, net.ErrClosed) {
		s.opts.Logger.LogAttrs(s.base, slog.LevelError, "net/http's server has ended", slog.Any("cause", err))
	}
}
