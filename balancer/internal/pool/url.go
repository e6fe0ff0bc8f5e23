package pool

import (
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// Schemes are those by which backends are reached.
type Schemes struct {
	Names   []string
	Sockets bool   // unix:///run/shop.sock is one too, and where fcgi is, fcgi:///run/shop.sock
	Example string // a URL that is one
	Words   string // how a URL starts
	Port    bool   // a port is needed, and there is no path
}

// Parse reads where a backend is. Its error says what would be right.
func (s Schemes) Parse(raw string) (*url.URL, error) {
	shown := raw // without a password
	if i := strings.LastIndexByte(raw, '@'); i >= 0 {
		shown = "..." + raw[i:]
	}
	if path, ok := strings.CutPrefix(raw, "unix://"); ok && s.Sockets {
		return socketAt("unix", path)
	}
	if path, ok := strings.CutPrefix(raw, fcgi+"://"); ok && s.Sockets && strings.HasPrefix(path, "/") && slices.Contains(s.Names, fcgi) {
		return socketAt(fcgi, path)
	}
	if err := s.spelled(raw, shown); err != nil {
		return nil, err
	}
	u, err := url.Parse(raw)
	if err != nil {
		return nil, fmt.Errorf("%q is no URL: want one such as %s", shown, s.Example)
	}
	return u, s.complete(shown, u)
}

// spelled says what is wrong with the beginning of a URL: to net/url web1:8080 has
// a scheme web1.
func (s Schemes) spelled(raw, shown string) error {
	scheme, rest, ok := strings.Cut(raw, "://")
	switch {
	case raw == "":
		return fmt.Errorf("has no URL: want one such as %q", s.Example)
	case strings.HasPrefix(raw, "unix:") || strings.HasPrefix(raw, "/") || ok && strings.HasPrefix(rest, "unix:"):
		if s.Sockets {
			return fmt.Errorf("%q: want unix:// and the absolute path of the socket, such as %s", shown, socketExample)
		}
		return fmt.Errorf("%q is a socket of this machine, which the pool does not reach: want the server to listen on an address, such as %s", shown, s.Example)
	case !ok:
		return fmt.Errorf("%q has no scheme: want %q; the URL starts with %s", shown, s.Names[0]+"://"+strings.TrimSpace(shown), s.Words)
	case !slices.Contains(s.Names, strings.ToLower(scheme)):
		return fmt.Errorf("%q: the URL starts with %s", shown, s.Words)
	}
	return nil
}

const (
	fcgi          = "fcgi" // has sockets of this machine, a port always, and no paths
	socketExample = "unix:///run/shop.sock"
	// longestSocket is how long the path of a socket may be, in bytes, on every system.
	longestSocket = 103
)

// socketAt returns the URL of a socket of this machine.
func socketAt(scheme, path string) (*url.URL, error) {
	switch shown := scheme + "://" + path; {
	case !strings.HasPrefix(path, "/") || strings.HasSuffix(path, "/") || strings.ContainsAny(path, "\x00?#%"):
		return nil, fmt.Errorf("%q: want %s:// and the absolute path of the socket, such as %s:///run/shop.sock", shown, scheme, scheme)
	case len(path) > longestSocket:
		return nil, fmt.Errorf("%q: the path of a socket has at most %d bytes", shown, longestSocket)
	}
	return &url.URL{Scheme: scheme, Path: path}, nil
}

// complete says what a URL has too little or too much.
func (s Schemes) complete(shown string, u *url.URL) error {
	switch port := u.Port(); {
	case u.Hostname() == "":
		return fmt.Errorf("%q: the URL names no host", shown)
	case u.RawQuery != "" || u.Fragment != "" || u.User != nil || u.ForceQuery:
		return fmt.Errorf("%s: the URL has a host and perhaps a path, no query, fragment or user", shown)
	case s.Port && (port == "" || u.Path != ""):
		return fmt.Errorf("%q: want a host and a port, such as %s", shown, s.Example)
	case u.Scheme == fcgi && (port == "" || u.Path != ""):
		return fmt.Errorf("%q: want a host and a port, such as fcgi://10.0.0.11:9000, or a socket, such as fcgi:///run/shop.sock", shown)
	case port != "":
		if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 {
			return fmt.Errorf("%q: port %s: want one from 1 to 65535", shown, port)
		}
	}
	return nil
}
