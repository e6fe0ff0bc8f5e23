package status

import (
	"fmt"
	"io/fs"
	"net"
	"net/http"

	"github.com/foretier/foretier/internal/unixsocket"
)

// ListenUnix listens on a socket of this machine, for a [Server]: who may connect may
// read the page, and steer if Options.Act asks [OverSocket]. The path is absolute, and of
// 80 bytes at most. Mode says who may connect: 0600 for the process' own user and root,
// 0660 for its group too.
//
// A socket that a process has left there that is gone is replaced. It is an error if one
// answers there, or if something else than a socket is there. Close takes the file away.
//
// What is logged of an order that came so is who gave it, where the system tells (Linux):
// r.RemoteAddr is as in unix:uid=1000,pid=4711.
func ListenUnix(path string, mode fs.FileMode) (net.Listener, error) {
	l, err := unixsocket.Listen(path, mode)
	if err != nil {
		return nil, fmt.Errorf("status: %w", err)
	}
	return &socket{l}, nil
}

// TakeOverUnix returns l, which a process that made it at path by [ListenUnix] has passed
// on to this one, as ListenUnix returns one.
func TakeOverUnix(l net.Listener, path string) (net.Listener, error) {
	u, err := unixsocket.TakeOver(l, path)
	if err != nil {
		return nil, fmt.Errorf("status: %w", err)
	}
	return &socket{u}, nil
}

// A socket is a listener of ListenUnix.
type socket struct{ *unixsocket.Listener }

// Accept implements [net.Listener].
func (s *socket) Accept() (net.Conn, error) {
	c, err := s.AcceptUnix()
	if err != nil {
		return nil, err
	}
	return &local{c, peer("unix:" + credentials(c))}, nil
}

// local is a connection of a socket's.
type local struct {
	*net.UnixConn
	peer peer
}

// RemoteAddr implements [net.Conn].
func (l *local) RemoteAddr() net.Addr { return l.peer }

// A peer is who has connected.
type peer string

// Network implements [net.Addr].
func (peer) Network() string { return "unix" }

// String implements [net.Addr].
func (p peer) String() string { return string(p) }

// OverSocket reports whether r came over a socket of this machine, such as those of
// [ListenUnix], and so from somebody whom its file's mode lets in. It is for
// [Options.Act]. Behind a proxy that forwards to such a socket everybody is.
func OverSocket(r *http.Request) bool {
	at, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	return ok && at.Network() == "unix"
}
