// Package unixsocket listens on sockets of this machine whose files say who may connect.
package unixsocket

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
)

// longest is how long the path of a socket may be, in bytes: systems allow 103, of which
// the directory that it is made in takes some.
const longest = 80

// A Listener takes its file away when it is closed.
type Listener struct {
	*net.UnixListener
	path string
	file os.FileInfo // at path
	left atomic.Bool // to another process
}

// Listen listens at an absolute path, of 80 bytes at most. Mode is 0600, for the process'
// own user and root, or 0660, for its group too. A socket that a process has left there
// that is gone is replaced. It is an error if one answers there, or if something else than
// a socket is there.
func Listen(path string, mode fs.FileMode) (*Listener, error) {
	if !filepath.IsAbs(path) || len(path) > longest {
		return nil, fmt.Errorf("socket %q: want an absolute path of at most %d bytes, such as /run/gateway/status.sock", path, longest)
	}
	if mode != 0o600 && mode != 0o660 {
		return nil, fmt.Errorf("socket %s: mode %04o: want 0600, for the process' user, or 0660, for its group too", path, mode)
	}
	if err := vacant(path); err != nil {
		return nil, err
	}
	// In a directory of its own nobody else reaches it before it has its mode.
	dir, err := os.MkdirTemp(filepath.Dir(path), ".s")
	if err != nil {
		return nil, fmt.Errorf("socket: %w", err)
	}
	defer os.RemoveAll(dir)
	made := filepath.Join(dir, "s")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: made, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("socket: %w", err)
	}
	l.SetUnlinkOnClose(false)
	if err = os.Chmod(made, mode); err == nil {
		err = os.Rename(made, path)
	}
	file, statErr := os.Lstat(path)
	if err = errors.Join(err, statErr); err != nil {
		return nil, errors.Join(fmt.Errorf("socket: %w", err), l.Close())
	}
	return &Listener{UnixListener: l, path: path, file: file}, nil
}

// TakeOver returns l, which a process that made it at path by [Listen] has passed on to
// this one, as Listen returns one.
func TakeOver(l net.Listener, path string) (*Listener, error) {
	u, ok := l.(*net.UnixListener)
	if !ok {
		return nil, fmt.Errorf("socket %s: a listener at %v was passed on: want one of that socket", path, l.Addr())
	}
	u.SetUnlinkOnClose(false)
	file, err := os.Lstat(path)
	if err != nil {
		return nil, fmt.Errorf("socket: %w", err)
	}
	return &Listener{UnixListener: u, path: path, file: file}, nil
}

// Leave has Close leave the file where it is, for a process that has taken l over.
func (l *Listener) Leave() { l.left.Store(true) }

// Addr implements [net.Listener].
func (l *Listener) Addr() net.Addr { return &net.UnixAddr{Name: l.path, Net: "unix"} }

// Close implements [net.Listener]. What another process has put in the file's place stays.
func (l *Listener) Close() error {
	if now, err := os.Lstat(l.path); !l.left.Load() && err == nil && os.SameFile(now, l.file) {
		_ = os.Remove(l.path) // a file that stays is replaced by the next
	}
	return l.UnixListener.Close()
}

// vacant returns why no socket can be made at path, or nil.
func vacant(path string) error {
	file, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("socket: %w", err)
	case file.Mode().Type() != fs.ModeSocket:
		return fmt.Errorf("socket %s: something else is there: want a path for the socket alone", path)
	}
	c, err := net.Dial("unix", path)
	if err == nil {
		_ = c.Close()
		return fmt.Errorf("socket %s: a process serves there already: want another path, or end that process", path)
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return fmt.Errorf("socket: %w", err)
	}
	return nil
}
