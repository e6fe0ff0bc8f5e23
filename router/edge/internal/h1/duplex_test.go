package h1_test

import (
	"errors"
	"net"
	"time"
)

// A duplex is one end of a connection in memory, of which each direction ends by
// itself.
type duplex struct {
	net.Conn // what it reads
	out      net.Conn
}

func newDuplex() (client, server *duplex) {
	a, b := net.Pipe()
	c, d := net.Pipe()
	return &duplex{a, c}, &duplex{d, b}
}

func (d *duplex) Write(p []byte) (int, error) { return d.out.Write(p) }
func (d *duplex) CloseWrite() error           { return d.out.Close() }
func (d *duplex) Close() error                { return errors.Join(d.out.Close(), d.Conn.Close()) }

// Deadlines are set though the other side has closed its direction, as those of
// sockets are.
func (d *duplex) SetReadDeadline(t time.Time) error {
	_ = d.Conn.SetReadDeadline(t)
	return nil
}

func (d *duplex) SetWriteDeadline(t time.Time) error {
	_ = d.out.SetWriteDeadline(t)
	return nil
}

func (d *duplex) SetDeadline(t time.Time) error {
	return errors.Join(d.SetReadDeadline(t), d.SetWriteDeadline(t))
}
