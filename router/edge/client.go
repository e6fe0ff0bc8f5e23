package edge

import (
	"net/http"
	"net/netip"
	"slices"

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
	for entry := range fields.Backward(forwardedFor) {
		if !within(trusted, addr) {
			return addr
		}
		next, ok := fields.Addr(entry)
		if !ok {
			return addr
		}
		addr = next
	}
	return addr
}

// maxChain is how many entries of X-Forwarded-For go on. Those before are what
// the client itself has said, if there is a chain so long.
const maxChain = 64

// shorten leaves the latest entries of a chain.
func shorten(forwardedFor []string) []string {
	n := 0
	for at, line := range slices.Backward(forwardedFor) {
		for i := len(line) - 1; i >= 0; i-- {
			if line[i] == ',' {
				if n++; n == maxChain {
					return append([]string{line[i+1:]}, forwardedFor[at+1:]...)
				}
			}
		}
		if n++; n >= maxChain {
			return forwardedFor[at:]
		}
	}
	return forwardedFor
}

// scheme returns what the client spoke: TLS here, or what the trusted proxy
// before us says. Some proxies name a websocket's scheme, which is the same
// with or without TLS (RFC 6455, section 3).
func scheme(r *http.Request, trusted bool) string {
	if r.TLS != nil {
		return "https"
	}
	if trusted {
		for last := range fields.Backward(r.Header["X-Forwarded-Proto"]) {
			if isSecure(last) {
				return "https"
			}
			break
		}
	}
	return "http"
}

// isSecure reports whether scheme is one with TLS.
func isSecure(scheme string) bool {
	return fields.EqualFold(scheme, "https") || fields.EqualFold(scheme, "wss")
}
