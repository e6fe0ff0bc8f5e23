package h1

import (
	"net"
	"time"

	"github.com/foretier/foretier/internal/http1"
)

// A Quick [Owner] answers some requests from their heads, which costs neither a
// request nor a handler. It does so on the goroutine of the connection, and keeps
// between the calls what it is about to answer.
type Quick interface {
	// Known says what is known of an answer to head, which is that of a GET
	// without a body on a connection that goes on, over HTTP/1.1. Size is about
	// what an answer takes that Append gives as a whole.
	Known(head *http1.Head) (k Known, size int)
	// Append appends the answer to b: all of it or, if more, what it begins
	// with.
	Append(b []byte) (out []byte, more bool)
	// Rest writes what Append has left out, or notes with what the write of what
	// it gave has failed.
	Rest(to net.Conn, failed error) error
}

// Known is what is known of an answer before the handler is asked.
type Known uint8

const (
	Nothing Known = iota // the handler is to answer
	Unknown              // likewise, and what it answers may be learned: its lesson begins with it
	Answer               // Append is to be called
)

// instant answers the request whose head was read, and those that have come with
// it, or reports that the handler has to.
func (c *conn) instant() (s step, ok bool) {
	k, size := c.known()
	if k != Answer {
		return onward, false
	}
	out := getBuffer(size)
	*out = (*out)[:0]
	defer func() { putBuffer(out) }()
	for {
		out = growBuffer(out, size)
		var more bool
		if *out, more = c.quick.Append(*out); more {
			return c.sendLarge(*out), true
		}
		whole, err := c.following()
		if whole {
			k, size = c.known()
		}
		if whole && k == Answer && len(*out)+size <= largeBuffer {
			continue
		}
		_, failed := c.nc.Write(*out)
		*out = (*out)[:0]
		switch {
		case failed != nil:
			c.broken = true
			return over, true
		case err != nil:
			return c.refuse(err), true
		case !whole:
			return onward, true
		case k != Answer:
			return onward, false
		}
	}
}

// known asks what is known of the request whose head was read.
func (c *conn) known() (k Known, size int) {
	if h := &c.head; c.quick != nil && h.Method == "GET" && h.Minor > 0 && h.Length == 0 && !h.Close && h.Upgrade == "" && !c.srv.conns.Draining() {
		k, size = c.quick.Known(h)
	}
	c.plain = k == Unknown
	return k, size
}

// following reads the head of a request that has come with the one before, and
// reports whether it is whole.
func (c *conn) following() (whole bool, err error) {
	if c.buf.Buffered() == 0 || !c.asks() {
		return false, nil
	}
	n, err := c.head.ParseRequest(c.buf.Bytes(), &c.srv.Head)
	c.buf.Discard(n)
	return n > 0, err
}

// sendLarge writes b, which ends with what an answer begins with, and its rest.
func (c *conn) sendLarge(b []byte) step {
	_, err := c.nc.Write(b)
	if err = c.quick.Rest(c.nc, err); err != nil {
		c.broken = true
		return over
	}
	if c.wire.Bounded() && c.wire.SetDeadline(time.Time{}) != nil {
		return over
	}
	return onward
}
