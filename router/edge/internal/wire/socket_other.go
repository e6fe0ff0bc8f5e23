//go:build !unix

package wire

import (
	"errors"
	"net"
	"syscall"
)

// A socket is there on Unix only; elsewhere it is nil.
type socket struct{}

func newSocket(net.Conn, syscall.RawConn, func() bool, func()) *socket { return nil }

func (*socket) read([]byte, Room) (int, error) { return 0, errors.ErrUnsupported }
func (*socket) write([]byte) (int, error)      { return 0, errors.ErrUnsupported }
