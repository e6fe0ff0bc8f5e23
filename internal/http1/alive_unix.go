//go:build unix

package http1

import "syscall"

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

// silent is quiet within a call of raw.Read.
func silent(fd uintptr) bool {
	var b [1]byte
	n, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
	return n < 0 && (err == syscall.EAGAIN || err == syscall.EINTR)
}
