package status

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"strings"

	"github.com/foretier/foretier/internal/fields"
)

// ownNames returns the names under which a report may be asked for.
func ownNames(more []string) ([]string, error) {
	names := []string{"localhost"}
	if name, err := os.Hostname(); err == nil { // a machine without a name has addresses
		names = append(names, strings.ToLower(name))
	}
	for _, host := range more {
		name := fields.Hostname(host)
		if _, port := fields.SplitPort(host); name == "" || port != "" || strings.ContainsAny(name, "/ ,*") || strings.Trim(name, ".") != name {
			return nil, fmt.Errorf("status: Hosts: %q is no host: want a name or an address without scheme and port, such as gw1.internal", host)
		}
		names = append(names, name)
	}
	return names, nil
}

// isOwn reports whether r asks for one of the server's own names or addresses. A
// program that names none, over HTTP/1.0, is no browser.
func (h *Handler) isOwn(r *http.Request) bool {
	name := fields.Hostname(r.Host)
	if name == "" || slices.Contains(h.names, name) || strings.HasSuffix(name, ".localhost") {
		return true
	}
	addr, ok := fields.Addr(name)
	if !ok {
		return false
	}
	if addr.IsLoopback() {
		return true
	}
	if local, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr); ok {
		if at, ok := fields.PeerAddr(local.String()); ok && at == addr {
			return true
		}
	}
	addrs, err := net.InterfaceAddrs()
	return err == nil && slices.ContainsFunc(addrs, func(a net.Addr) bool {
		p, err := netip.ParsePrefix(a.String())
		return err == nil && p.Addr().Unmap().WithZone("") == addr
	})
}
