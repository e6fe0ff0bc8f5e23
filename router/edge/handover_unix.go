//go:build unix

package edge

import (
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
)

// descriptorOf returns another descriptor of a listener's socket. The one that its File
// returns would make the socket blocking when the process is started, and so the accept
// of both.
func descriptorOf(l net.Listener) (*os.File, error) {
	sc, ok := l.(syscall.Conn)
	if !ok {
		return nil, fmt.Errorf("a %T is no socket", l)
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return nil, err
	}
	var fd int
	var failed error
	err = raw.Control(func(own uintptr) {
		syscall.ForkLock.RLock()
		defer syscall.ForkLock.RUnlock()
		if fd, failed = syscall.Dup(int(own)); failed == nil {
			syscall.CloseOnExec(fd)
		}
	})
	if err := errors.Join(err, failed); err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), "listener"), nil
}

func closeOnExec(fd int) { syscall.CloseOnExec(fd) }
