package tcp

import (
	"context"
	"crypto/tls"
	"io"
	"net"

	"github.com/foretier/foretier/balancer/internal/relay"
)

// DialContext connects to a backend that the pool picks. network and address
// are not looked at: they let the method stand where a client asks for such a
// function, as [mysql.RegisterDialContext] and pgx do.
//
// The connection is a [*net.TCPConn] but for its Close, a [syscall.Conn] too,
// so that drivers can look whether it is alive; with a tls backend it is a
// [*tls.Conn]. It counts as in hand until it is closed, and is cut like those
// of [Pool.Serve]; what is read then fails with [ErrMoved].
//
// [mysql.RegisterDialContext]: https://pkg.go.dev/github.com/go-sql-driver/mysql#RegisterDialContext
func (c *carrier) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	l, err := c.connect(ctx, nil)
	if err != nil {
		return nil, err
	}
	raw := l.conn
	if !l.onCut(func(error) { relay.Abort(raw) }) {
		relay.Abort(raw)
	}
	if secure, ok := raw.(*tls.Conn); ok {
		return &dialedTLS{secure, l}, nil
	}
	if plain, ok := raw.(*net.TCPConn); ok {
		return &dialedTCP{plain, l}, nil
	}
	return &dialed{raw, l}, nil
}

type dialedTCP struct {
	*net.TCPConn
	link *link
}

func (c *dialedTCP) Read(p []byte) (int, error) {
	n, err := c.TCPConn.Read(p)
	return n, c.link.read(n, err)
}

func (c *dialedTCP) Write(p []byte) (int, error) {
	c.link.write()
	return c.TCPConn.Write(p)
}

func (c *dialedTCP) Close() error {
	c.link.end()
	return c.TCPConn.Close()
}

// ReadFrom implements [io.ReaderFrom], as the connection itself does.
func (c *dialedTCP) ReadFrom(r io.Reader) (int64, error) {
	c.link.write()
	return c.TCPConn.ReadFrom(r)
}

type dialedTLS struct {
	*tls.Conn
	link *link
}

func (c *dialedTLS) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	return n, c.link.read(n, err)
}

func (c *dialedTLS) Write(p []byte) (int, error) {
	c.link.write()
	return c.Conn.Write(p)
}

func (c *dialedTLS) Close() error {
	c.link.end()
	return c.Conn.Close()
}

type dialed struct {
	net.Conn
	link *link
}

func (c *dialed) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	return n, c.link.read(n, err)
}

func (c *dialed) Write(p []byte) (int, error) {
	c.link.write()
	return c.Conn.Write(p)
}

func (c *dialed) Close() error {
	c.link.end()
	return c.Conn.Close()
}
