package h1

import (
	"errors"
	"os"
	"sync"
	"time"

	"github.com/foretier/foretier/router/edge/internal/scope"
)

// gone ends the request that is served, if one is: nobody takes its answer.
func (c *conn) gone(cause error) {
	c.served.Lock()
	defer c.served.Unlock()
	if c.serving != nil {
		c.serving.End(cause)
	}
}

// serves says of which request the client may be gone from now on; nil: of none. With
// that, nobody has the one before in hand here.
func (c *conn) serves(s *scope.Scope) {
	c.served.Lock()
	defer c.served.Unlock()
	c.serving = s
}

// A listener notices that a client leaves by reading, as net/http does, where
// no watch can: it reads one byte beyond the request, which nearly never comes.
type listener struct {
	mu     sync.Mutex
	wanted bool          // guarded by mu: a request is served
	done   chan struct{} // guarded by mu: closed once nobody reads; nil: nobody does
	b      [1]byte
	n      int // of b; written before done is closed
}

// want has c listened to for as long as a request is served: from now on, or
// from the end of its body.
func (l *listener) want(c *conn) {
	l.mu.Lock()
	l.wanted = true
	l.mu.Unlock()
	if c.body.ended() {
		l.start(c)
	}
}

// start begins to listen, if that is wanted: the request has been read.
func (l *listener) start(c *conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.wanted || l.done != nil || c.buf.Buffered() > 0 {
		return
	}
	done := make(chan struct{})
	l.done = done
	go func() {
		defer close(done)
		n, err := c.nc.Read(l.b[:])
		if l.n = n; err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			c.gone(ErrGone)
		}
	}()
}

// heard reports whether something of the next request was read.
func (l *listener) heard() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case <-l.done: // nil: nobody listens
		return l.n > 0
	default:
		return false
	}
}

// stop ends the listening, and gives back what it has read.
func (l *listener) stop(c *conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.wanted = false
	if l.done == nil {
		return
	}
	_ = c.nc.SetReadDeadline(past) // a closed connection interrupts by itself
	<-l.done
	l.done = nil
	_ = c.nc.SetReadDeadline(time.Time{}) // likewise: who reads next sees it
	c.buf.Append(l.b[:l.n])
	l.n = 0
}

var past = time.Unix(1, 0)
