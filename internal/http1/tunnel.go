package http1

import (
	"errors"
	"sync"
)

// A tunnel is the body of a 101: the connection itself.
type tunnel struct {
	cn   *conn
	wait Wait // for the call's context to end
	once sync.Once
}

func (t *tunnel) Read(p []byte) (int, error) {
	t.cn.in.Free() // or it would hold memory while nobody says anything
	return t.cn.in.Read(p)
}

func (t *tunnel) Write(p []byte) (int, error) { return t.cn.nc.Write(p) }

// Close closes the connection.
func (t *tunnel) Close() error {
	t.once.Do(func() { t.wait.End() })
	return t.cn.nc.Close()
}

// A halfCloser ends one direction of a connection: TCP, TLS, Unix sockets.
type halfCloser interface{ CloseWrite() error }

// CloseWrite ends the direction to the server.
func (t *tunnel) CloseWrite() error {
	if c, ok := t.cn.nc.(halfCloser); ok {
		return c.CloseWrite()
	}
	return errors.ErrUnsupported
}
