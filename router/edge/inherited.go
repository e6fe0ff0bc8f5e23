package edge

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
)

// listenFDsStart is the first descriptor that a service manager passes on.
const listenFDsStart = 3

// Inherited returns the listeners that were passed on to this process, in their order,
// and none if there are none: by a service manager such as systemd (sd_listen_fds(3)), or
// by another process of the same program (see [HandOver]). The sockets
// stay open while the program is replaced, so no connection is refused.
// The environment variables are removed, so that children do
// not take the sockets for theirs; a second call returns none.
func Inherited() ([]net.Listener, error) {
	pid, fds, predecessor := os.Getenv("LISTEN_PID"), os.Getenv("LISTEN_FDS"), os.Getenv(predecessorPID)
	isSuccessor := predecessor != "" && predecessor == strconv.Itoa(os.Getppid())
	if fds == "" || pid != strconv.Itoa(os.Getpid()) && !isSuccessor {
		return nil, nil
	}
	for _, name := range [...]string{"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", predecessorPID} {
		if err := os.Unsetenv(name); err != nil {
			return nil, fmt.Errorf("edge: %w", err)
		}
	}
	n, err := strconv.Atoi(fds)
	if err != nil || n < 0 || n > 1024 {
		return nil, fmt.Errorf("edge: LISTEN_FDS=%q is no number of descriptors", fds)
	}
	var out []net.Listener
	for fd := listenFDsStart; fd < listenFDsStart+n; fd++ {
		f := os.NewFile(uintptr(fd), "listener "+strconv.Itoa(fd))
		l, err := net.FileListener(f)
		err = errors.Join(err, f.Close()) // FileListener has its own copy
		if err != nil {
			for _, l := range out {
				_ = l.Close() // the error above is the one to report
			}
			return nil, fmt.Errorf("edge: descriptor %d is no listening socket: %w", fd, err)
		}
		out = append(out, l)
	}
	if isSuccessor {
		succeed(listenFDsStart + n)
	}
	return out, nil
}
