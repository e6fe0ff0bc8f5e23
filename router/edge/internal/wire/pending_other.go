//go:build !unix

package wire

// Pending reports whether something has come that nobody has read, where a socket
// can be asked.
func (c *Conn) Pending() bool { return false }
