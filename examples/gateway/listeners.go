package main

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"path/filepath"
	"regexp"
	"strings"
)

// listeners are those of -status.
type listeners []net.Listener

// A maker makes listeners at sockets of this machine, for what serves on them.
type maker struct {
	listen   func(path string, mode fs.FileMode) (net.Listener, error)
	takeOver func(l net.Listener, path string) (net.Listener, error) // passed on
}

// listenAt listens where a flag says, or has what is passed on for it, which is nil if
// nothing is.
func listenAt(flag, at string, passed net.Listener, unix maker) (l net.Listener, err error) {
	path, mode, socket := "", fs.FileMode(0), isSocket(at)
	if socket {
		path, mode, _ = socketOf(at) // parse has refused what is none
	}
	switch l = passed; {
	case passed != nil && socket:
		l, err = unix.takeOver(passed, path)
	case passed != nil:
	case socket:
		l, err = unix.listen(path, mode)
	default:
		if l, err = net.Listen("tcp", at); err != nil {
			err = fmt.Errorf("%w: want a free port of this machine", err)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("-%s %q: %w", flag, at, err)
	}
	return l, nil
}

// String is where they listen.
func (all listeners) String() string {
	if len(all) == 0 {
		return "none"
	}
	var at []string
	for _, l := range all {
		if l.Addr().Network() == "unix" {
			at = append(at, "unix:"+l.Addr().String())
		} else {
			at = append(at, l.Addr().String())
		}
	}
	return strings.Join(at, ",")
}

// Close closes all.
func (all listeners) Close() (err error) {
	for _, l := range all {
		err = errors.Join(err, l.Close())
	}
	return err
}

// isSocket reports whether an address of -listen or -status is a socket of this machine.
func isSocket(at string) bool { return strings.HasPrefix(at, "unix:") }

// endsInMode finds what may be meant as the mode of a socket.
var endsInMode = regexp.MustCompile(`^(.*):([0-9]+)$`)

// socketOf reads the address of a socket: unix:/run/gateway/status.sock, or that and :0660.
func socketOf(at string) (path string, mode fs.FileMode, err error) {
	path, mode = strings.TrimPrefix(at, "unix:"), 0o600
	if m := endsInMode.FindStringSubmatch(path); m != nil {
		switch path = m[1]; m[2] {
		case "0600", "600":
		case "0660", "660":
			mode = 0o660
		default:
			return "", 0, fmt.Errorf("mode %s: want 0600, for the user that the gateway runs as, or 0660, for its group too", m[2])
		}
	}
	if !filepath.IsAbs(path) {
		return "", 0, errors.New("want unix: and an absolute path, such as unix:/run/gateway/status.sock")
	}
	return path, mode, nil
}

// checkPlace refuses what is no address of -listen or -status; socket is one that would be.
func checkPlace(at, socket string) error {
	if isSocket(at) {
		_, _, err := socketOf(at)
		return err
	}
	if err := checkListen(at); err != nil {
		return fmt.Errorf("%w, or %s", err, socket)
	}
	return nil
}
