//go:build unix && (!linux || race)

// The race detector takes what one side writes and the other reads for an order, but
// only by these.

package sysio

import "syscall"

// Read is read(2), of a socket that does not block.
func Read(fd uintptr, p []byte) (int, syscall.Errno) {
	n, err := syscall.Read(int(fd), p)
	return n, errno(err)
}

// Write is write(2), likewise.
func Write(fd uintptr, p []byte) (int, syscall.Errno) {
	n, err := syscall.Write(int(fd), p)
	return n, errno(err)
}

func errno(err error) syscall.Errno {
	no, _ := err.(syscall.Errno) // which all of them are
	return no
}
