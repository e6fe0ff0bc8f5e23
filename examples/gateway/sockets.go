package main

import (
	"errors"
	"fmt"
	"net"
	"sync"

	"github.com/foretier/foretier/health/status"
	"github.com/foretier/foretier/router/edge"
)

// Sockets are what the gateway listens on: passed on by a service manager, or by the
// gateway that this one takes over from, or its own.
type sockets struct {
	main   net.Listener
	plain  net.Listener // that of -https-redirect; nil: none
	status listeners
	// gate is closed for a gateway that takes over until it is ready to; nil for others.
	gate *gate
}

// listenOn returns the sockets. Those that are passed on are -listen's, then
// -https-redirect's, and then -status's.
func listenOn(c config) (s sockets, err error) {
	passed, err := edge.Inherited()
	if err != nil {
		return s, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
			for _, l := range passed {
				err = errors.Join(err, l.Close())
			}
		}
	}()
	inherited := func() (l net.Listener) {
		if len(passed) > 0 {
			l, passed = passed[0], passed[1:]
		}
		return l
	}
	if edge.Succeeds() {
		s.gate = newGate()
	}
	visitors := maker{edge.ListenUnix, edge.TakeOverUnix}
	if s.main, err = listenAt("listen", c.listen, inherited(), visitors); err != nil {
		return s, err
	}
	if c.redirect != "" {
		if s.plain, err = listenAt("https-redirect", c.redirect, inherited(), visitors); err != nil {
			return s, err
		}
	}
	for _, at := range list(c.status) {
		l, err := listenAt("status", at, inherited(), maker{status.ListenUnix, status.TakeOverUnix})
		if err != nil {
			return s, err
		}
		s.status = append(s.status, l)
	}
	if n := len(passed); n > 0 {
		return s, fmt.Errorf("%d sockets too many are passed on, which nobody would serve: want one for -listen, and others for -https-redirect and -status where these are given", n)
	}
	return s, nil
}

// list are the sockets as they are handed over.
func (s sockets) list() (all []net.Listener) {
	for _, l := range []net.Listener{s.main, s.plain} {
		if l != nil {
			all = append(all, l)
		}
	}
	return append(all, s.status...)
}

func (s sockets) close() (err error) {
	for _, l := range s.list() {
		err = errors.Join(err, l.Close())
	}
	return err
}

// A gate keeps connections waiting until it is opened, for as long as somebody else may
// take them.
type gate struct {
	open  func()
	wide  chan struct{}
	ended chan struct{}
	end   func()
}

func newGate() *gate {
	g := &gate{wide: make(chan struct{}), ended: make(chan struct{})}
	g.open = sync.OnceFunc(func() { close(g.wide) })
	g.end = sync.OnceFunc(func() { close(g.ended) })
	return g
}

// behind returns l, of which nothing is accepted before g is open. Nil is always open.
func (g *gate) behind(l net.Listener) net.Listener {
	if g == nil {
		return l
	}
	return gated{l, g}
}

type gated struct {
	net.Listener
	gate *gate
}

// Accept implements [net.Listener].
func (l gated) Accept() (net.Conn, error) {
	select {
	case <-l.gate.wide:
		return l.Listener.Accept()
	case <-l.gate.ended:
		return nil, net.ErrClosed
	}
}

// Close implements [net.Listener].
func (l gated) Close() error {
	l.gate.end()
	return l.Listener.Close()
}
