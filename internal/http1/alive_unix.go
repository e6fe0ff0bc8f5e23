//go:build unix

package http1

import "syscall"

// alive reports whether an idle connection is still open, as far as this end
// knows: nothing has arrived, neither its end nor bytes that nobody asked for.
func (cn *conn) alive() bool {
	if cn.raw == nil {
		return true
	}
	open := false
	err := cn.raw.Read(func(fd uintptr) bool {
		var b [1]byte
		n, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		open = n < 0 && (err == syscall.EAGAIN || err == syscall.EINTR)
		return true // never wait
	})
	return err == nil && open
}
