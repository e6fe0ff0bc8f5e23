// Package sysio has the system calls of sockets that do not block. They are made with
// the descriptor that [syscall.RawConn] hands out, within its call, and Go's poller
// waits between them.
package sysio
