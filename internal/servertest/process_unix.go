//go:build unix

package servertest

import "syscall"

// ownGroup has a program run in a process group of its own, so that a Ctrl-C
// on the test ends it in order.
func ownGroup() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

// kill ends the group of a program, pause stops it and resume lets it go on.
func kill(pid int) {
	resume(pid) // a stopped process could not be waited for
	_ = syscall.Kill(-pid, syscall.SIGKILL)
}

// quit ends a program that ends its children itself, which have groups of their own.
func quit(pid int) { _ = syscall.Kill(pid, syscall.SIGQUIT) }

func pause(pid int)  { _ = syscall.Kill(-pid, syscall.SIGSTOP) }
func resume(pid int) { _ = syscall.Kill(-pid, syscall.SIGCONT) }
