package drivertest

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"testing"

	"github.com/foretier/foretier/internal/testkit"
)

// A link is the network between a driver and its server, which a test breaks.
type link struct {
	addr string
	mu   sync.Mutex
	all  map[net.Conn]net.Conn // guarded by mu; the server's side by the driver's

	// Guarded by mu:
	down  bool // nobody gets through to the server
	mute  bool // what the server answers from now on gets nowhere
	sever int  // of so many answers from now on the connection is cut instead
	worry int  // of one in so many, for as long as it is not 0
	quiet chan struct{}
}

func newLink(t *testing.T, server string) *link {
	l := &link{all: make(map[net.Conn]net.Conn)}
	l.addr = testkit.Accept(t, testkit.Listen(t), func(c net.Conn) { l.carry(c, server) })
	t.Cleanup(func() { l.set(func() { l.mute = false }); l.cut() })
	return l
}

// DialContext dials the server.
func (l *link) DialContext(ctx context.Context, network, _ string) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, network, l.addr)
}

func (l *link) set(f func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f()
}

// cut cuts all connections.
func (l *link) cut() {
	l.set(func() {
		for c, s := range l.all {
			_, _ = c.Close(), s.Close()
		}
	})
}

var errSevered = errors.New("severed")

// carry carries one connection. The driver's side has ended once it returns.
func (l *link) carry(c net.Conn, server string) {
	s, err := net.Dial("tcp", server)
	if err != nil {
		return
	}
	defer s.Close()
	refused := false
	l.set(func() {
		if refused = l.down; !refused {
			l.all[c] = s
		}
	})
	if refused {
		return
	}
	defer l.set(func() { delete(l.all, c) })
	var up sync.WaitGroup
	up.Go(func() {
		_, _ = io.Copy(s, c)
		_ = s.Close()
	})
	buf := make([]byte, 64<<10)
	for {
		n, err := s.Read(buf)
		if err == nil {
			err = l.pass()
		}
		if err == nil {
			_, err = c.Write(buf[:n])
		}
		if err != nil {
			break
		}
	}
	_, _ = c.Close(), s.Close()
	up.Wait()
}

// pass says what becomes of an answer of the server's: it has done what it answers.
func (l *link) pass() error {
	l.mu.Lock()
	if l.sever > 0 || l.worry > 0 && rand.N(l.worry) == 0 {
		l.sever = max(0, l.sever-1)
		l.mu.Unlock()
		return errSevered
	}
	quiet := l.quiet
	if !l.mute {
		quiet = nil
	}
	l.mu.Unlock()
	if quiet != nil {
		<-quiet
		return errSevered
	}
	return nil
}

// hang has the server answer nothing until the function that it returns is called,
// which cuts what has hung.
func (l *link) hang() (end func()) {
	quiet := make(chan struct{})
	l.set(func() { l.mute, l.quiet = true, quiet })
	return func() {
		l.set(func() { l.mute = false })
		close(quiet)
	}
}
