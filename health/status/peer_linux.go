package status

import (
	"fmt"
	"net"
	"syscall"
)

// credentials returns who has connected, as in uid=1000,pid=4711, as the system tells.
func credentials(c *net.UnixConn) string {
	raw, err := c.SyscallConn()
	if err != nil {
		return ""
	}
	var who *syscall.Ucred
	if err := raw.Control(func(fd uintptr) {
		who, err = syscall.GetsockoptUcred(int(fd), syscall.SOL_SOCKET, syscall.SO_PEERCRED)
	}); err != nil || who == nil {
		return ""
	}
	return fmt.Sprintf("uid=%d,pid=%d", who.Uid, who.Pid)
}
