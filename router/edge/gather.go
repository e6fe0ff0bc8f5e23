package edge

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"slices"
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

// A buffer is that of a response which is held or gathered.
type buffer struct {
	body   []byte
	header []field // as it was when it was written
}

type field struct {
	name   string
	values []string
	first  string // of values, which somebody may change
}

var buffers = sync.Pool{New: func() any { return &buffer{body: make([]byte, 0, gatherMost)} }}

// free gives b back. It may be nil.
func (b *buffer) free() {
	if b != nil {
		b.body = b.body[:0]
		clear(b.header)
		b.header = b.header[:0]
		buffers.Put(b)
	}
}

// note keeps what h is now.
func (b *buffer) note(h http.Header) {
	for name, values := range h {
		f := field{name: name, values: values}
		switch {
		case len(values) == 1:
			f.first = values[0]
		case len(values) > 1:
			f.values = slices.Clone(values)
		}
		b.header = append(b.header, f)
	}
}

// restore makes h what it was when it was noted, and returns what it has become
// meanwhile, nil if it is the same.
func (b *buffer) restore(h http.Header) (now http.Header) {
	same := len(h) == len(b.header)
	for i := 0; same && i < len(b.header); i++ {
		f := &b.header[i]
		values, ok := h[f.name]
		if len(f.values) == 1 {
			same = len(values) == 1 && values[0] == f.first
		} else {
			same = ok && slices.Equal(values, f.values)
		}
	}
	if same {
		return nil
	}
	now = h.Clone()
	clear(h)
	for _, f := range b.header {
		if h[f.name] = f.values; len(f.values) == 1 {
			h[f.name] = []string{f.first}
		}
	}
	return now
}

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

// gather begins to hold back what is written. It belongs, like deliver, to
// whoever writes the response.
func (c *conn) gather() {
	if c.held == nil {
		c.held = buffers.Get().(*buffer)
	}
}

// hold holds p back, if there is room for it.
func (c *conn) hold(p []byte) bool {
	if len(c.held.body)+len(p) > gatherMost {
		return false
	}
	c.held.body = append(c.held.body, p...)
	return true
}

// deliver writes what was held back, and holds back nothing more. The standard
// server believes it written, so a connection that does not take it is closed:
// the next response would follow half of this one.
func (c *conn) deliver() error {
	b := c.held
	if c.held = nil; b == nil {
		return nil
	}
	_, err := c.write(b.body)
	b.free()
	if err != nil {
		c.unread.Store(false)
		_ = c.Close() // the error that counts is err
	}
	return err
}
