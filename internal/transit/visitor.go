package transit

import (
	"net/http"
	"net/netip"

	"github.com/foretier/foretier/internal/fields"
)

// A Visitor is who asks. It is filled by edge, which knows the trusted proxies;
// its zero value means that no edge ran: see [Client] and [Scheme].
type Visitor struct {
	Client netip.Addr
	Scheme string // "http" or "https", as the client sees it
	ID     string // names the request in logs and in X-Request-Id
	Trace  string // the trace-id of its traceparent, which edge has judged or made; empty: it has not looked
	// Vetted says that the request's forwarding headers have been cleaned by
	// [github.com/foretier/foretier/internal/fields.Clean]: what is left of
	// them comes from a trusted peer.
	Vetted bool
}

// Client returns who asked: what edge found, and without edge the peer. The
// zero Addr means that RemoteAddr holds no address, as in some tests.
func Client(r *http.Request) netip.Addr {
	if rec, ok := Lookup(r.Context()); ok && rec.Client.IsValid() {
		return rec.Client
	}
	return Peer(r)
}

// Scheme returns "http" or "https", as the client sees it: what edge found,
// and without edge what this connection is.
func Scheme(r *http.Request) string {
	if rec, ok := Lookup(r.Context()); ok && rec.Scheme != "" {
		return rec.Scheme
	}
	if r.TLS != nil {
		return "https"
	}
	return "http"
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
