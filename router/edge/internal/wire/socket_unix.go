//go:build unix

package wire

import (
	"io"
	"net"
	"os"
	"sync"
	"syscall"

	"github.com/foretier/foretier/internal/sysio"
)

// A socket reads and writes what is a socket and nothing else by calls of its own,
// and has Go's poller wait. So memory is taken for what is read once there is
// something, a limit of time is set for what is written once that has to wait, and
// the scheduler need not be told of calls that never block.
type socket struct {
	raw syscall.RawConn
	in  incoming
	out outgoing
}

// newSocket returns nil where nc is none: what wraps one may have read ahead.
func newSocket(nc net.Conn, raw syscall.RawConn, parks func() bool, waits func()) *socket {
	switch nc.(type) {
	case *net.TCPConn, *net.UnixConn:
		s := &socket{raw: raw}
		s.in.try, s.in.parks = s.in.read, parks
		s.out.try, s.out.waits = s.out.write, waits
		return s
	}
	return nil
}

// incoming is what is read.
type incoming struct {
	try   func(fd uintptr) bool // read, bound once
	parks func() bool           // who would have to wait had better park

	mu   sync.Mutex // held by who reads
	p    []byte     // guarded by mu
	room Room       // guarded by mu: in place of p
	n    int        // guarded by mu
	err  error      // guarded by mu
}

// read reads what there is into room, or p if that is nil, and waits until there is
// something. It ends with [os.ErrDeadlineExceeded], too, where it would wait and had better
// park.
func (s *socket) read(p []byte, room Room) (int, error) {
	in := &s.in
	in.mu.Lock()
	defer in.mu.Unlock()
	in.p, in.room, in.n, in.err = p, room, 0, nil
	err := s.raw.Read(in.try)
	in.p, in.room = nil, nil
	if err == nil {
		err = in.err
	}
	return in.n, err
}

func (in *incoming) take() []byte {
	if in.room == nil {
		return in.p
	}
	return in.room.Take()
}

func (in *incoming) giveBack() {
	if in.room != nil {
		in.room.Return()
	}
}

// read reads once, and reports whether there was something: bytes, the end, or an
// error. Go's poller calls it, and again when there may be.
func (in *incoming) read(fd uintptr) bool {
	p := in.take()
	n, err := sysio.Read(fd, p)
	for err == syscall.EINTR {
		n, err = sysio.Read(fd, p)
	}
	switch {
	case err == syscall.EAGAIN:
		if in.giveBack(); !in.parks() {
			return false
		}
		in.err = os.ErrDeadlineExceeded
		return true
	case err != 0:
		in.err = os.NewSyscallError("read", err)
	case n == 0:
		in.err = io.EOF
	default:
		in.n = n
		return true
	}
	in.giveBack()
	return true
}

// outgoing is what is written.
type outgoing struct {
	try   func(fd uintptr) bool // write, bound once
	waits func()                // called when the client has to take something first

	mu  sync.Mutex // held by who writes
	p   []byte     // guarded by mu
	n   int        // guarded by mu: bytes of p that are written
	err error      // guarded by mu
}

// write writes p, and waits as long as the client does not take it.
func (s *socket) write(p []byte) (int, error) {
	out := &s.out
	out.mu.Lock()
	defer out.mu.Unlock()
	out.p, out.n, out.err = p, 0, nil
	err := s.raw.Write(out.try)
	out.p = nil
	if err == nil {
		err = out.err
	}
	return out.n, err
}

// write writes what is left, and reports whether that is all, or there was an
// error. Go's poller calls it, and again when there may be room.
func (out *outgoing) write(fd uintptr) bool {
	for out.n < len(out.p) {
		n, err := sysio.Write(fd, out.p[out.n:])
		switch err {
		case 0:
			out.n += n
		case syscall.EINTR:
		case syscall.EAGAIN:
			out.waits()
			return false
		default:
			out.err = os.NewSyscallError("write", err)
			return true
		}
	}
	return true
}
