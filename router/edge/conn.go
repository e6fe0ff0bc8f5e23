package edge

import (
	"crypto/tls"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/foretier/foretier/internal/fields"
	"github.com/foretier/foretier/internal/transit"
	"github.com/foretier/foretier/router/edge/internal/wire"
)

// A conn is a client's connection, below TLS.
type conn struct {
	*wire.Conn
	srv   *Server
	hello *tls.ClientHelloInfo // its handshake's, if names ask for different client certificates

	begun   atomic.Bool // net/http's server has read something on it
	peer    netip.Addr  // at its other end; once it has begun
	trusted bool        // that is a trusted proxy; likewise

	instant instant // what is about to be answered on it

	mu       sync.Mutex
	upgraded bool // guarded by mu: a handler has taken it over
	closed   bool // guarded by mu
}

// loopback is where those are who come over a socket of this machine.
var loopback = &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)}

// RemoteAddr implements [net.Conn]. Who comes over a socket of this machine is as one
// who comes over its loopback.
func (c *conn) RemoteAddr() net.Addr {
	addr := c.Conn.RemoteAddr()
	if addr == nil || addr.Network() == "unix" {
		return loopback
	}
	return addr
}

// Begun serves [h1.Owner]: behind the PROXY protocol it is known by now who
// comes.
func (c *conn) Begun() (idle time.Duration, ok bool) {
	if c.srv.opts.Wrap != nil && !c.peer.IsValid() && !c.srv.crowd.count(c) { // once, whichever server serves it
		return 0, false
	}
	c.peer, _ = fields.PeerAddr(c.RemoteAddr().String()) // as transit.Peer has it
	c.trusted = within(c.srv.opts.Trusted, c.peer)
	if c.trusted {
		return c.srv.opts.Limits.TrustedIdle, true
	}
	return c.srv.opts.Limits.Idle, true
}

// Unread serves [h1.Owner].
func (c *conn) Unread(status int, cause, line string) {
	level := slog.LevelWarn
	if status == 0 {
		status, level = transit.StatusGone, slog.LevelInfo
	}
	c.srv.unread(c, level, status, "edge: not read: "+cause, line)
}

// Hijacked serves [h1.Owner].
func (c *conn) Hijacked() {
	c.mu.Lock()
	c.upgraded = true
	c.mu.Unlock()
	c.srv.stats.open.Add(-1)
	c.srv.upgrades.add(c)
}

// turnOut serves [crowd].
func (c *conn) turnOut() { _ = c.Conn.Close() } // nothing can be done about one that does not close

// Close closes the connection, and counts it no more.
func (c *conn) Close() error {
	c.mu.Lock()
	first := !c.closed
	c.closed = true
	upgraded := c.upgraded
	c.mu.Unlock()
	if !first {
		return net.ErrClosed
	}
	if upgraded {
		c.srv.upgrades.remove(c)
	} else {
		c.srv.stats.open.Add(-1)
	}
	err := c.Conn.Close()
	c.srv.crowd.remove(c)
	return err
}
