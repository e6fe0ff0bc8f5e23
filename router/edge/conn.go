package edge

import (
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/foretier/foretier/internal/fields"
)

// A conn bounds how long a client may take nothing of what is written to it,
// and after an upgrade how long it may be idle. Reading an ordinary connection
// is bounded by the standard server and, inside a body, by stallReader.
type conn struct {
	net.Conn
	srv *Server

	fresh     atomic.Bool          // accepted, and nothing read yet
	idle      atomic.Bool          // between two requests: the next read deadline is Limits.Idle's
	upgraded  atomic.Bool          // taken over by a handler
	renewed   atomic.Int64         // when the rolling deadline was last set, in nanoseconds since srv.start
	explicit  atomic.Int64         // the write deadline that somebody asked for, likewise; 0: none
	held      *buffer              // of a response that is being gathered; nil: none is
	secure    bool                 // TLS stands above it
	hello     *tls.ClientHelloInfo // its handshake's, if names ask for different client certificates
	begun     atomic.Bool          // bytes of a request have come
	answering atomic.Bool          // a handler has it
	unread    atomic.Bool          // a request's body was not read to its end: what follows is no request
	closed    sync.Once
	since     atomic.Int64 // when it was accepted or last became idle, in nanoseconds since srv.start
}

// writeChunk is how much is handed to the kernel under one deadline.
const writeChunk = 256 << 10

// listener makes conns.
type listener struct {
	net.Listener
	srv *Server
}

func (l listener) Accept() (net.Conn, error) {
	for {
		nc, err := l.Listener.Accept()
		if err != nil {
			l.srv.crowd.exhausted(err) // the standard server tries again in a moment
			return nil, err
		}
		c := &conn{Conn: nc, srv: l.srv}
		c.since.Store(int64(time.Since(l.srv.start)))
		// Behind the PROXY protocol the client is known once something was read.
		if l.srv.crowd.admit(c) && (l.srv.opts.Wrap != nil || l.srv.crowd.count(c)) {
			return c, nil
		}
		l.srv.crowd.remove(c)
		_ = nc.Close() // nothing can be done about one that does not close
	}
}

// trusted reports whether the peer is a trusted proxy. Behind the PROXY
// protocol its address is known only after the first read.
func (c *conn) trusted() bool {
	peer, ok := fields.PeerAddr(c.RemoteAddr().String())
	return ok && within(c.srv.opts.Trusted, peer)
}

func (c *conn) Write(p []byte) (n int, err error) {
	if c.held != nil {
		if c.hold(p) {
			return len(p), nil
		}
		if err := c.deliver(); err != nil {
			return 0, err
		}
	}
	return c.write(p)
}

// write hands p to the kernel, piece by piece.
func (c *conn) write(p []byte) (n int, err error) {
	if !c.answering.Load() {
		c.refused(p)
	}
	for {
		chunk := p[:min(len(p), writeChunk)]
		c.renew()
		m, err := c.Conn.Write(chunk)
		n += m
		if p = p[m:]; err != nil || len(p) == 0 {
			return n, err
		}
	}
}

// ReadFrom sends files with sendfile, as the standard server does. Other
// sources may pause for longer than the client may, so they are copied write by
// write.
func (c *conn) ReadFrom(src io.Reader) (n int64, err error) {
	if err := c.deliver(); err != nil {
		return 0, err
	}
	file, limited := asFile(src)
	if file == nil || c.upgraded.Load() {
		return io.Copy(struct{ io.Writer }{c}, src)
	}
	for limited == nil || limited.N > 0 {
		chunk := &io.LimitedReader{R: file, N: writeChunk}
		if limited != nil {
			chunk.N = min(chunk.N, limited.N)
		}
		want := chunk.N
		c.renew()
		m, err := io.Copy(c.Conn, chunk)
		n += m
		if limited != nil {
			limited.N -= m
		}
		if err != nil || m < want {
			return n, err
		}
	}
	return n, nil
}

// asFile returns the file that src is, and as much of it as is limited, or nil.
func asFile(src io.Reader) (file *os.File, limited *io.LimitedReader) {
	if limited, _ = src.(*io.LimitedReader); limited != nil {
		src = limited.R
	}
	file, _ = src.(*os.File)
	return file, limited
}

func (c *conn) Read(p []byte) (int, error) {
	if c.upgraded.Load() {
		c.renew()
	}
	if c.unread.Load() {
		return 0, io.EOF
	}
	return c.Conn.Read(p)
}

// renew moves the rolling deadline, at most once a second.
func (c *conn) renew() {
	limits := &c.srv.opts.Limits
	now := time.Since(c.srv.start)
	if last := time.Duration(c.renewed.Load()); last != 0 && now-last < time.Second {
		return
	}
	if c.upgraded.Load() {
		if limits.UpgradeIdle > 0 {
			c.renewed.Store(int64(now))
			_ = c.Conn.SetDeadline(c.srv.start.Add(now + limits.UpgradeIdle)) // a closed connection says so itself
		}
		return
	}
	if limits.WriteStall <= 0 {
		return
	}
	deadline := now + limits.WriteStall
	if e := time.Duration(c.explicit.Load()); e != 0 && e < deadline {
		return
	}
	c.renewed.Store(int64(now))
	_ = c.Conn.SetWriteDeadline(c.srv.start.Add(deadline)) // likewise
}

// SetReadDeadline implements [net.Conn]. The deadline that the standard server
// sets between two requests is a longer one for trusted proxies.
func (c *conn) SetReadDeadline(t time.Time) error {
	if limit := c.srv.opts.Limits.TrustedIdle; c.idle.CompareAndSwap(true, false) && !t.IsZero() && c.trusted() {
		t = time.Time{}
		if limit > 0 {
			t = time.Now().Add(limit)
		}
	}
	return c.Conn.SetReadDeadline(t)
}

// SetWriteDeadline implements [net.Conn]. A deadline that is earlier than the
// rolling one holds.
func (c *conn) SetWriteDeadline(t time.Time) error {
	c.explicit.Store(0)
	if !t.IsZero() {
		c.explicit.Store(max(1, int64(t.Sub(c.srv.start))))
	}
	c.renewed.Store(0)
	return c.Conn.SetWriteDeadline(t)
}

// SetDeadline implements [net.Conn].
func (c *conn) SetDeadline(t time.Time) error {
	if err := c.SetWriteDeadline(t); err != nil {
		return err
	}
	return c.Conn.SetReadDeadline(t)
}

// A halfCloser ends one direction of a connection: TCP, TLS, Unix sockets.
type halfCloser interface{ CloseWrite() error }

// CloseWrite half-closes the connection, where it can.
func (c *conn) CloseWrite() error {
	if half, ok := c.Conn.(halfCloser); ok {
		return half.CloseWrite()
	}
	return net.ErrClosed
}

func (c *conn) Close() error {
	c.closed.Do(func() {
		c.srv.upgrades.remove(c)
		if c.unread.Load() && !c.srv.cut.Load() {
			c.linger()
		}
	})
	err := c.Conn.Close()
	c.srv.crowd.remove(c)
	return err
}

const (
	lingerAll   = 5 * time.Second // for what a client still sends once it has its answer
	lingerStall = 2 * time.Second // for each piece of that
)

// linger closes in stages (RFC 9112, section 9.6): a connection that is closed
// while its client sends is reset, and takes an answer with it that the client
// has not read yet.
func (c *conn) linger() {
	if c.CloseWrite() != nil {
		return
	}
	buf := buffers.Get().(*buffer)
	defer buf.free()
	end := time.Now().Add(lingerAll)
	for now := time.Now(); now.Before(end); now = time.Now() {
		until := now.Add(lingerStall)
		if until.After(end) {
			until = end
		}
		if c.Conn.SetReadDeadline(until) != nil {
			return
		}
		if _, err := c.Conn.Read(buf.body[:cap(buf.body)]); err != nil {
			return
		}
	}
}

// upgrades are the connections that handlers have taken over, which the
// standard server forgets.
type upgrades struct {
	mu    sync.Mutex
	conns map[*conn]struct{} // guarded by mu
	gone  bool               // guarded by mu: closeAll has been called
}

func (u *upgrades) add(c *conn) {
	u.mu.Lock()
	gone := u.gone
	if !gone {
		if u.conns == nil {
			u.conns = make(map[*conn]struct{})
		}
		u.conns[c] = struct{}{}
	}
	u.mu.Unlock()
	if gone {
		_ = c.Close() // nothing can be done about a connection that does not close
	}
}

func (u *upgrades) remove(c *conn) {
	u.mu.Lock()
	defer u.mu.Unlock()
	delete(u.conns, c)
}

func (u *upgrades) count() int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return len(u.conns)
}

// closeAll closes all of them, and each one that is still to come.
func (u *upgrades) closeAll() {
	u.mu.Lock()
	u.gone = true
	conns := u.conns
	u.conns = nil
	u.mu.Unlock()
	for c := range conns {
		_ = c.Close() // likewise
	}
}

// state follows the life of connections as the standard server sees it.
func (s *Server) state(nc net.Conn, state http.ConnState) {
	secure, _ := nc.(*tls.Conn)
	if secure != nil {
		nc = secure.NetConn()
	}
	c, ok := nc.(*conn)
	if !ok {
		return
	}
	if state != http.StateNew && c.fresh.CompareAndSwap(true, false) {
		s.stats.fresh.Add(-1)
		if s.opts.Wrap != nil && state == http.StateActive && !s.crowd.count(c) {
			_ = c.Conn.Close() // likewise
		}
	}
	switch state {
	case http.StateNew:
		c.fresh.Store(true)
		s.stats.fresh.Add(1)
		s.stats.conns.Add(1)
		s.stats.open.Add(1)
	case http.StateIdle:
		c.idle.Store(true)
		c.since.Store(int64(time.Since(s.start)))
		c.begun.Store(false)
		c.answering.Store(false)
	case http.StateActive:
		c.idle.Store(false)
		c.begun.Store(true)
		c.answering.Store(false)
	case http.StateHijacked:
		s.stats.open.Add(-1)
		_ = c.deliver() // whoever takes over gathers nothing
		c.unread.Store(false)
		c.upgraded.Store(true)
		c.renewed.Store(0)
		s.upgrades.add(c)
		c.renew()
	case http.StateClosed:
		s.stats.open.Add(-1)
		if secure == nil || secure.ConnectionState().NegotiatedProtocol != "h2" {
			s.logCutHead(c)
		}
	}
}
