//go:build linux && !race && (amd64 || arm64 || riscv64)

package sysio

import (
	"syscall"
	"unsafe"
)

// Peek is recv(2) of a socket, of which nothing is taken. It never waits.
func Peek(fd uintptr, p []byte) (int, syscall.Errno) {
	n, _, err := syscall.RawSyscall6(syscall.SYS_RECVFROM, fd, uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)),
		syscall.MSG_PEEK|syscall.MSG_DONTWAIT, 0, 0)
	return int(n), err
}
