//go:build unix

package wire

import (
	"io"
	"net"
	"os"
	"syscall"

	"github.com/foretier/foretier/internal/http1"
)

// late reads from a socket into memory that is taken once there is something:
// while a client is silent Go's poller waits for it, and nobody has a buffer.
// It is the reader's.
type late struct {
	try func(fd uintptr) bool // tryRead, bound once

	room http1.Room
	n    int
	err  error
}

// newLate returns nil where nc is no socket itself: what wraps one may have read
// ahead.
func newLate(nc net.Conn) *late {
	switch nc.(type) {
	case *net.TCPConn, *net.UnixConn:
		l := new(late)
		l.try = l.tryRead
		return l
	}
	return nil
}

func (l *late) read(raw syscall.RawConn, room http1.Room) (int, error) {
	l.room, l.n, l.err = room, 0, nil
	err := raw.Read(l.try)
	l.room = nil
	if err == nil {
		err = l.err
	}
	return l.n, err
}

// tryRead reads once, and reports whether there was something: bytes, the end, or
// an error. Go's poller calls it, and again when there may be.
func (l *late) tryRead(fd uintptr) bool {
	p := l.room.Take()
	n, err := syscall.Read(int(fd), p)
	for err == syscall.EINTR {
		n, err = syscall.Read(int(fd), p)
	}
	switch {
	case err == syscall.EAGAIN:
		l.room.Return()
		return false
	case err != nil:
		l.err = os.NewSyscallError("read", err)
	case n == 0:
		l.err = io.EOF
	default:
		l.n = n
		return true
	}
	l.room.Return()
	return true
}
