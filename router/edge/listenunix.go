package edge

import (
	"fmt"
	"io/fs"
	"net"

	"github.com/foretier/foretier/internal/unixsocket"
)

// ListenUnix listens on a socket of this machine, for [Options.Listener]: behind another
// server of it, as a rule, which counts as 127.0.0.1 and may stand in [Options.Trusted].
// The path is absolute, and of 80 bytes at most. Mode says who may connect: 0600 for the
// process' own user and root, 0660 for its group too.
//
// A socket that a process has left there that is gone is replaced. It is an error if one
// answers there, or if something else than a socket is there. Close takes the file away,
// unless [HandOver] has passed the socket on.
func ListenUnix(path string, mode fs.FileMode) (net.Listener, error) {
	l, err := unixsocket.Listen(path, mode)
	if err != nil {
		return nil, fmt.Errorf("edge: %w", err)
	}
	return l, nil
}

// TakeOverUnix returns l, one of [Inherited] that another process of this program has made
// at path by [ListenUnix], as ListenUnix returns one: it goes by its path, and Close takes
// the file away. One that a service manager has made is that one's to take away.
func TakeOverUnix(l net.Listener, path string) (net.Listener, error) {
	u, err := unixsocket.TakeOver(l, path)
	if err != nil {
		return nil, fmt.Errorf("edge: %w", err)
	}
	return u, nil
}
