//go:build unix && !(linux && !race && (amd64 || arm64 || riscv64))

package sysio

import "syscall"

// Peek is recv(2) of a socket, of which nothing is taken. It never waits.
func Peek(fd uintptr, p []byte) (int, syscall.Errno) {
	n, _, err := syscall.Recvfrom(int(fd), p, syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
	no, _ := err.(syscall.Errno) // which all of them are
	return n, no
}
