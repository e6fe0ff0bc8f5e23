//go:build unix && (!linux || race || 386 || s390x)

// The race detector takes what one side writes and the other reads for an order, but
// only by these. Two systems have one call for all that is done with sockets.

package sysio

import "syscall"

// Read is read(2), of a socket that does not block.
func Read(fd uintptr, p []byte) (int, syscall.Errno) {
	n, err := syscall.Read(int(fd), p)
	return n, errno(err)
}

// Peek is recv(2) of a socket, of which nothing is taken. It never waits.
func Peek(fd uintptr, p []byte) (int, syscall.Errno) {
	n, _, err := syscall.Recvfrom(int(fd), p, syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
	return n, errno(err)
}

// Write is write(2), of a socket that does not block.
func Write(fd uintptr, p []byte) (int, syscall.Errno) {
	n, err := syscall.Write(int(fd), p)
	return n, errno(err)
}

func errno(err error) syscall.Errno {
	no, _ := err.(syscall.Errno) // which all of them are
	return no
}
