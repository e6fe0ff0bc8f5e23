//go:build unix

package edge

import "syscall"

// descriptors returns how many this process may have open, 0 if that is not
// known or has no bound.
func descriptors() int {
	var l syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l) != nil || uint64(l.Cur) > 1<<30 {
		return 0
	}
	return int(l.Cur)
}
