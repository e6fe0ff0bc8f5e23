//go:build unix

package http1

import "syscall"

// quiet reports whether a socket has nothing to read and is open.
func quiet(raw syscall.RawConn) bool {
	open := false
	err := raw.Read(func(fd uintptr) bool {
		var b [1]byte
		n, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		open = n < 0 && (err == syscall.EAGAIN || err == syscall.EINTR)
		return true // never wait
	})
	return err == nil && open
}
