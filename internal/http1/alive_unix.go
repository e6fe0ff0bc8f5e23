//go:build unix

package http1

import (
	"syscall"

	"github.com/foretier/foretier/internal/sysio"
)

// sockets says that a socket can be looked at, and waited for without reading it.
const sockets = true

// quiet reports whether a socket has nothing to read and is open.
func quiet(raw syscall.RawConn) bool {
	open := false
	err := raw.Read(func(fd uintptr) bool {
		open = silent(fd)
		return true // never wait
	})
	return err == nil && open
}

// Quiet reports whether a socket has nothing to read and is open, also while another
// goroutine waits to read it.
func Quiet(raw syscall.RawConn) bool {
	open := false
	err := raw.Control(func(fd uintptr) { open = silent(fd) })
	return err == nil && open
}

// silent is quiet within a call of raw.Read.
func silent(fd uintptr) bool {
	var b [1]byte
	_, err := sysio.Peek(fd, b[:])
	return err == syscall.EAGAIN || err == syscall.EINTR
}

// take reads once what has come over a socket, within a call of raw.Read. It returns
// 0 if something is the matter that whoever reads next will be told, and waits if
// there is nothing yet.
func take(fd uintptr, p []byte) (n int, waits bool) {
	n, err := sysio.Read(fd, p)
	return max(n, 0), err == syscall.EAGAIN || err == syscall.EINTR
}

// put writes p to a socket, within a call of raw.Read, as far as that takes it at once.
func put(fd uintptr, p []byte) int {
	n, _ := sysio.Write(fd, p) // what went wrong, whoever writes the rest is told
	return max(n, 0)
}
