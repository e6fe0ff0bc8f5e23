package edge

import (
	"context"
	"crypto/tls"
	"net"
	"sync"
)

// The standard server hands a page of 4 KiB or more to the kernel in two or
// three pieces, and each costs as much as all else that the edge does for the
// request. So a response that an exchange has held is gathered as the standard
// server writes it, and goes out as one.

const (
	gatherMost = 32 << 10           // head and body of a response that goes out as one
	gatherBody = gatherMost - 4<<10 // its body; a larger head ends the gathering early
)

// buffers are those of responses that are held or gathered.
var buffers = sync.Pool{New: func() any {
	b := make([]byte, 0, gatherMost)
	return &b
}}

type connKey struct{}

// connContext lets a request find the connection it came on.
func connContext(ctx context.Context, nc net.Conn) context.Context {
	secure, isTLS := nc.(*tls.Conn)
	if isTLS {
		nc = secure.NetConn()
	}
	c, ok := nc.(*conn)
	if !ok {
		return ctx
	}
	c.secure = isTLS
	return context.WithValue(ctx, connKey{}, c)
}

// gather begins to hold back what is written. It belongs, like deliver and
// discard, to whoever writes the response.
func (c *conn) gather() {
	if c.held == nil {
		c.held = buffers.Get().(*[]byte)
	}
}

// hold holds p back, if there is room for it.
func (c *conn) hold(p []byte) bool {
	if len(*c.held)+len(p) > gatherMost {
		return false
	}
	*c.held = append(*c.held, p...)
	return true
}

// deliver writes what was held back, and holds back nothing more. The standard
// server believes it written, so a connection that does not take it is closed:
// the next response would follow half of this one.
func (c *conn) deliver() error {
	b := c.discard()
	if b == nil {
		return nil
	}
	defer buffers.Put(b)
	_, err := c.write(*b)
	*b = (*b)[:0]
	if err != nil {
		c.unread.Store(false)
		_ = c.Close() // the error that counts is err
	}
	return err
}

// discard ends the gathering and returns what was held back, nil if there was
// no gathering.
func (c *conn) discard() *[]byte {
	b := c.held
	c.held = nil
	return b
}
