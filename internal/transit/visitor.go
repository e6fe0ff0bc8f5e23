package transit

import (
	"net/http"
	"net/netip"

	"github.com/foretier/foretier/internal/fields"
)

// Client returns who asked: what edge found, and without edge the peer. The
// zero Addr means that RemoteAddr holds no address, as in some tests.
func Client(r *http.Request) netip.Addr {
	if rec := From(r.Context()); rec != nil && rec.Client.IsValid() {
		return rec.Client
	}
	return Peer(r)
}

// Peer returns the address at the other end of the connection.
func Peer(r *http.Request) netip.Addr {
	addr, _ := fields.PeerAddr(r.RemoteAddr)
	return addr
}

// Network returns what counts as one client where something is shared out: an
// IPv4 address or an IPv6 /64, of which one client has all addresses.
func Network(addr netip.Addr) netip.Addr {
	addr = addr.Unmap()
	if addr.Is6() {
		p, _ := addr.Prefix(64) // an IPv6 address has 64 bits
		addr = p.Addr()
	}
	return addr
}

// Scheme returns "http" or "https", as the client sees it: what edge found,
// and without edge what this connection is.
func Scheme(r *http.Request) string {
	if rec := From(r.Context()); rec != nil && rec.Scheme != "" {
		return rec.Scheme
	}
	if r.TLS != nil {
		return "https"
	}
	return "http"
}
