//go:build !unix

package http1

import "syscall"

// sockets says that a socket can be looked at, and waited for without reading it.
const sockets = false

// quiet is taken for granted where a socket cannot be asked.
func quiet(syscall.RawConn) bool { return true }

func silent(uintptr) bool { return true }

func take(uintptr, []byte) (int, bool) { return 0, false }
func put(uintptr, []byte) int          { return 0 }

// Quiet is true: nobody can tell.
func Quiet(syscall.RawConn) bool { return true }
