//go:build linux && !race

package sysio

import (
	"syscall"
	"unsafe"
)

// quick is how many bytes a call may have of which the scheduler is not told. To
// tell it costs little by itself; but a call that it has seen last for 20 µs, which
// a busy machine makes of any, costs a change of threads.
const quick = 64 << 10

// Read is read(2), of a socket that does not block.
func Read(fd uintptr, p []byte) (int, syscall.Errno) { return call(syscall.SYS_READ, fd, p) }

// Write is write(2), likewise.
func Write(fd uintptr, p []byte) (int, syscall.Errno) { return call(syscall.SYS_WRITE, fd, p) }

func call(number, fd uintptr, p []byte) (int, syscall.Errno) {
	at := unsafe.Pointer(unsafe.SliceData(p))
	if len(p) > quick {
		n, _, err := syscall.Syscall(number, fd, uintptr(at), uintptr(len(p)))
		return int(n), err
	}
	n, _, err := syscall.RawSyscall(number, fd, uintptr(at), uintptr(len(p)))
	return int(n), err
}
