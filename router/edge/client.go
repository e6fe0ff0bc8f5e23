package edge

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"github.com/foretier/foretier/internal/fields"
	"github.com/foretier/foretier/internal/transit"
)

// Client returns who asked: the address found by walking X-Forwarded-For from
// the right past the trusted proxies, or the peer's where no edge ran. The
// zero Addr means that it is not known. RemoteAddr is never changed.
func Client(r *http.Request) netip.Addr { return transit.Client(r) }

// within reports whether addr lies in one of the prefixes.
func within(prefixes []netip.Prefix, addr netip.Addr) bool {
	return slices.ContainsFunc(prefixes, func(p netip.Prefix) bool { return p.Contains(addr) })
}

// client returns who asked through a chain of trusted proxies: each entry of
// X-Forwarded-For, from the right, is what the hop before it saw. The walk ends
// at the first address that is not trusted, or at what is no address.
func client(peer netip.Addr, forwardedFor []string, trusted []netip.Prefix) netip.Addr {
	addr := peer
	chain := fields.List(forwardedFor)
	for _, entry := range slices.Backward(chain) {
		if !within(trusted, addr) {
			break
		}
		next, ok := parseAddr(entry)
		if !ok {
			break
		}
		addr = next
	}
	return addr
}

// parseAddr reads an address with or without port and brackets. A zone is
// dropped: it names an interface of the host that wrote it.
func parseAddr(s string) (netip.Addr, bool) {
	if ap, err := netip.ParseAddrPort(s); err == nil {
		return ap.Addr().Unmap().WithZone(""), true
	}
	if inner, ok := strings.CutPrefix(s, "["); ok {
		if s, ok = strings.CutSuffix(inner, "]"); !ok {
			return netip.Addr{}, false
		}
	}
	addr, err := netip.ParseAddr(s)
	return addr.Unmap().WithZone(""), err == nil
}

// scheme returns what the client spoke: TLS here, or what the trusted proxy
// before us says. Some proxies name a websocket's scheme, which is the same
// with or without TLS (RFC 6455, section 3).
func scheme(r *http.Request, trusted bool) string {
	if r.TLS != nil {
		return "https"
	}
	if trusted {
		said := fields.List(r.Header["X-Forwarded-Proto"])
		if len(said) > 0 && isSecure(said[len(said)-1]) {
			return "https"
		}
	}
	return "http"
}

// isSecure reports whether scheme is one with TLS.
func isSecure(scheme string) bool {
	return strings.EqualFold(scheme, "https") || strings.EqualFold(scheme, "wss")
}
