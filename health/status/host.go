package status

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"strings"
)

// ownNames returns the names under which a report may be asked for.
func ownNames(more []string) ([]string, error) {
	names := []string{"localhost"}
	if name, err := os.Hostname(); err == nil { // a machine without a name has addresses
		names = append(names, strings.ToLower(name))
	}
	for _, host := range more {
		name := hostname(host)
		if name == "" || strings.ContainsAny(name, "/ ,*") || name != strings.ToLower(strings.Trim(host, "[].")) {
			return nil, fmt.Errorf("status: Hosts: %q is no host: want a name or an address without scheme and port, such as gw1.internal", host)
		}
		names = append(names, name)
	}
	return names, nil
}

// own reports whether r asks for one of the server's own names or addresses. A
// program that names none, over HTTP/1.0, is no browser.
func (h *Handler) own(r *http.Request) bool {
	name := hostname(r.Host)
	if name == "" || slices.Contains(h.names, name) || strings.HasSuffix(name, ".localhost") {
		return true
	}
	addr, err := netip.ParseAddr(name)
	if err != nil {
		return false
	}
	addr = addr.Unmap().WithZone("")
	if addr.IsLoopback() {
		return true
	}
	if local, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr); ok {
		if at, err := netip.ParseAddrPort(local.String()); err == nil && at.Addr().Unmap().WithZone("") == addr {
			return true
		}
	}
	addrs, err := net.InterfaceAddrs()
	return err == nil && slices.ContainsFunc(addrs, func(a net.Addr) bool {
		p, err := netip.ParsePrefix(a.String())
		return err == nil && p.Addr().Unmap().WithZone("") == addr
	})
}

// hostname returns a host in lower case, without port, brackets and trailing
// dot.
func hostname(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	return strings.ToLower(strings.TrimSuffix(strings.Trim(host, "[]"), "."))
}
