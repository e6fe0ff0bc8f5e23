package status

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
)

// longestSocket is how long the path of a socket may be, in bytes: systems allow 103.
const longestSocket = 80

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
	if !filepath.IsAbs(path) || len(path) > longestSocket {
		return nil, fmt.Errorf("status: socket %q: want an absolute path of at most %d bytes, such as /run/gateway/status.sock", path, longestSocket)
	}
	if mode != 0o600 && mode != 0o660 {
		return nil, fmt.Errorf("status: socket %s: mode %04o: want 0600, for the process' user, or 0660, for its group too", path, mode)
	}
	if err := vacant(path); err != nil {
		return nil, err
	}
	// In a directory of its own nobody else reaches it before it has its mode.
	dir, err := os.MkdirTemp(filepath.Dir(path), ".s")
	if err != nil {
		return nil, fmt.Errorf("status: socket: %w", err)
	}
	defer os.RemoveAll(dir)
	made := filepath.Join(dir, "s")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: made, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("status: socket: %w", err)
	}
	l.SetUnlinkOnClose(false)
	if err = os.Chmod(made, mode); err == nil {
		err = os.Rename(made, path)
	}
	file, statErr := os.Lstat(path)
	if err = errors.Join(err, statErr); err != nil {
		return nil, errors.Join(fmt.Errorf("status: socket: %w", err), l.Close())
	}
	return &socket{UnixListener: l, path: path, file: file}, nil
}

// TakeOverUnix returns l, which a process that made it at path by [ListenUnix] has passed
// on to this one, as ListenUnix returns one.
func TakeOverUnix(l net.Listener, path string) (net.Listener, error) {
	u, ok := l.(*net.UnixListener)
	if !ok {
		return nil, fmt.Errorf("status: socket %s: a listener at %v was passed on: want one of that socket", path, l.Addr())
	}
	u.SetUnlinkOnClose(false)
	file, err := os.Lstat(path)
	if err != nil {
		return nil, fmt.Errorf("status: socket: %w", err)
	}
	return &socket{UnixListener: u, path: path, file: file}, nil
}

// LeaveUnix has the Close of a listener of [ListenUnix] leave its file where it is, for a
// process that has taken it over. Of other listeners it is a call for nothing.
func LeaveUnix(l net.Listener) {
	if s, ok := l.(*socket); ok {
		s.left.Store(true)
	}
}

// vacant returns why no socket can be made at path, or nil.
func vacant(path string) error {
	file, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("status: socket: %w", err)
	case file.Mode().Type() != fs.ModeSocket:
		return fmt.Errorf("status: socket %s: something else is there: want a path for the socket alone", path)
	}
	c, err := net.Dial("unix", path)
	if err == nil {
		_ = c.Close()
		return fmt.Errorf("status: socket %s: a process serves there already: want another path, or end that process", path)
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return fmt.Errorf("status: socket: %w", err)
	}
	return nil
}

// A socket is a listener of ListenUnix.
type socket struct {
	*net.UnixListener
	path string
	file os.FileInfo // at path
	left atomic.Bool // to another process
}

// Addr implements [net.Listener].
func (s *socket) Addr() net.Addr { return &net.UnixAddr{Name: s.path, Net: "unix"} }

// Accept implements [net.Listener].
func (s *socket) Accept() (net.Conn, error) {
	c, err := s.AcceptUnix()
	if err != nil {
		return nil, err
	}
	return &local{c, peer("unix:" + credentials(c))}, nil
}

// Close implements [net.Listener]. What another process has put in the file's place stays.
func (s *socket) Close() error {
	if now, err := os.Lstat(s.path); !s.left.Load() && err == nil && os.SameFile(now, s.file) {
		_ = os.Remove(s.path) // a file that stays is replaced by the next
	}
	return s.UnixListener.Close()
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
