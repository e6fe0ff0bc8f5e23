package edgetest

import (
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"
)

// window is how much a connection holds of what its reader has not taken, each way, as a
// socket does: over net.Pipe, where nobody reads, a TLS connection takes 5 s to close, and
// two that both write wait for ever.
const window = 64 << 10

// pipe returns both ends of a connection in memory.
func pipe(client, server netip.AddrPort) (atClient, atServer net.Conn) {
	up, down := newStream(), newStream()
	return &conn{in: down, out: up, local: client, remote: server}, &conn{in: up, out: down, local: server, remote: client}
}

// A conn is one end of a connection in memory.
type conn struct {
	in, out       *stream
	local, remote netip.AddrPort
}

func (c *conn) Read(p []byte) (int, error)  { return c.in.read(p) }
func (c *conn) Write(p []byte) (int, error) { return c.out.write(p) }
func (c *conn) LocalAddr() net.Addr         { return net.TCPAddrFromAddrPort(c.local) }
func (c *conn) RemoteAddr() net.Addr        { return net.TCPAddrFromAddrPort(c.remote) }

// Close implements [net.Conn]. What was written before still arrives.
func (c *conn) Close() error {
	c.out.end(&c.out.written)
	c.in.end(&c.in.left)
	return nil
}

// CloseWrite says that nothing more will be written, as TCP's half-close does.
func (c *conn) CloseWrite() error {
	c.out.end(&c.out.written)
	return nil
}

func (c *conn) SetReadDeadline(t time.Time) error  { return c.in.limit(&c.in.reading, t) }
func (c *conn) SetWriteDeadline(t time.Time) error { return c.out.limit(&c.out.writing, t) }
func (c *conn) SetDeadline(t time.Time) error {
	_ = c.SetReadDeadline(t) // neither fails
	return c.SetWriteDeadline(t)
}

// A stream is one direction of a connection.
type stream struct {
	mu               sync.Mutex
	changed          sync.Cond // on mu
	held             []byte    // guarded by mu: what the reader has not taken
	written          bool      // guarded by mu: nobody writes any more
	left             bool      // guarded by mu: nobody reads any more
	reading, writing deadline  // guarded by mu
}

func newStream() *stream {
	s := new(stream)
	s.changed.L = &s.mu
	return s
}

func (s *stream) read(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		switch {
		case s.left:
			return 0, net.ErrClosed
		case s.reading.passed():
			return 0, os.ErrDeadlineExceeded
		case len(s.held) > 0:
			n := copy(p, s.held)
			s.held = s.held[n:]
			s.changed.Broadcast()
			return n, nil
		case s.written:
			return 0, io.EOF
		case len(p) == 0:
			return 0, nil
		}
		s.changed.Wait()
	}
}

func (s *stream) write(p []byte) (n int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		switch {
		case s.written:
			return n, net.ErrClosed
		case s.left:
			return n, io.ErrClosedPipe
		case s.writing.passed():
			return n, os.ErrDeadlineExceeded
		}
		k := min(window-len(s.held), len(p))
		s.held = append(s.held, p[:k]...)
		p, n = p[k:], n+k
		if k > 0 {
			s.changed.Broadcast()
		}
		if len(p) == 0 {
			return n, nil
		}
		s.changed.Wait()
	}
}

// end sets one of the stream's marks.
func (s *stream) end(mark *bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	*mark = true
	s.changed.Broadcast()
}

// A deadline is when a reader or a writer gives up.
type deadline struct {
	at    time.Time // the zero Time: never
	timer *time.Timer
}

func (d *deadline) passed() bool { return !d.at.IsZero() && !time.Now().Before(d.at) }

// limit sets one of the stream's deadlines.
func (s *stream) limit(d *deadline, at time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if d.timer != nil {
		d.timer.Stop()
	}
	d.at, d.timer = at, nil
	if !at.IsZero() {
		d.timer = time.AfterFunc(time.Until(at), func() {
			s.mu.Lock() // so that who is about to wait hears of it
			defer s.mu.Unlock()
			s.changed.Broadcast()
		})
	}
	s.changed.Broadcast()
	return nil
}
