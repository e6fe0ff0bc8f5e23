//go:build unix

package wire

import "syscall"

// Pending reports whether something has come that nobody has read. It may be asked
// at any time.
func (c *Conn) Pending() bool {
	if c.raw == nil {
		return false
	}
	some := false
	_ = c.raw.Control(func(fd uintptr) { // on a closed one nothing is pending
		var b [1]byte
		n, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		some = err == nil && n > 0
	})
	return some
}
