//go:build !unix

package http1

import "syscall"

// quiet is taken for granted where a socket cannot be asked.
func quiet(syscall.RawConn) bool { return true }
