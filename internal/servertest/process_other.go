//go:build !unix

package servertest

import (
	"os"
	"syscall"
)

func ownGroup() *syscall.SysProcAttr { return nil }

func kill(pid int) {
	if p, err := os.FindProcess(pid); err == nil {
		_ = p.Kill()
	}
}

func quit(pid int) { kill(pid) }

func pause(int)  { panic("servertest: a program cannot be stopped for a while on this system") }
func resume(int) {}
