package h1

import (
	"bufio"
	"bytes"
	"errors"
	"net"
	"net/http"
	"time"
)

// Hijack implements [http.Hijacker]. What the client has sent beyond its request
// is read first, whichever of the two is read.
func (w *response) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	c := w.c
	if c.hijacked {
		return nil, nil, http.ErrHijacked
	}
	c.listen.stop(c)
	c.wire.Unwatch()
	if err := c.nc.SetDeadline(time.Time{}); err != nil {
		return nil, nil, err
	}
	c.hijacked = true
	w.drop()
	nc := c.nc
	if c.buf.Buffered() > 0 {
		nc = &resumed{Conn: nc, rest: *bytes.NewReader(bytes.Clone(c.buf.Bytes()))}
	}
	c.buf.Discard(c.buf.Buffered())
	c.buf.Free()
	c.wire.Roll(c.srv.UpgradeIdle)
	c.srv.conns.Remove(c)
	c.owner.Hijacked()
	return nc, bufio.NewReadWriter(bufio.NewReader(nc), bufio.NewWriter(nc)), nil
}

// A resumed connection is read from where a server left it.
type resumed struct {
	net.Conn
	rest bytes.Reader
}

func (r *resumed) Read(p []byte) (int, error) {
	if r.rest.Len() > 0 {
		return r.rest.Read(p)
	}
	return r.Conn.Read(p)
}

// CloseWrite ends the direction to the client, where that can be.
func (r *resumed) CloseWrite() error {
	if half, ok := r.Conn.(halfCloser); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}

// A halfCloser ends one direction of a connection: TCP, TLS, Unix sockets.
type halfCloser interface{ CloseWrite() error }
