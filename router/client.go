package router

import (
	"fmt"
	"net/http"
	"net/netip"
	"slices"

	"github.com/foretier/foretier/internal/given"
	"github.com/foretier/foretier/internal/transit"
	"github.com/foretier/foretier/router/internal/proof"
)

type clientMatcher struct {
	noParams
	prefixes []netip.Prefix
}

// Client matches if who asks, as edge.Client says, is within one of the
// prefixes. A client whose address is not known is within none. A prefix of
// IPv4 may be written as IPv6: ::ffff:10.0.0.0/104.
func Client(prefixes ...netip.Prefix) Matcher {
	unmapped, err := given.Prefixes(prefixes)
	if err != nil {
		return clientMatcher{prefixes: slices.Clone(prefixes)} // check says it again
	}
	return clientMatcher{prefixes: unmapped}
}

func (m clientMatcher) match(v *view) bool {
	v.readsMore()
	client := transit.Client(v.r)
	return slices.ContainsFunc(m.prefixes, func(p netip.Prefix) bool { return p.Contains(client) })
}

func (m clientMatcher) Match(r *http.Request) bool { return matchRequest(m, r) }
func (m clientMatcher) String() string             { return list("Client", m.prefixes) }
func (m clientMatcher) check() error {
	if _, err := given.Prefixes(m.prefixes); err != nil {
		return fmt.Errorf("%s: not a prefix: %w", m, err)
	}
	return notEmpty("Client", len(m.prefixes))
}

func (m clientMatcher) tell(d *proof.Space) {
	if !d.Has("client") {
		d.Add("client", func(r *http.Request) { r.RemoteAddr = "unknown" })
	}
	for _, p := range m.prefixes {
		for _, a := range []netip.Addr{p.Masked().Addr(), lastAddr(p), lastAddr(p).Next()} {
			if a.IsValid() {
				d.Add("client", func(r *http.Request) { r.RemoteAddr = netip.AddrPortFrom(a, 1024).String() })
			}
		}
	}
}

func (m clientMatcher) says(d *proof.Space, _ *proof.Class) proof.Formula {
	return d.Set("client", m.String(), m.Match)
}

// lastAddr is the last address of a prefix.
func lastAddr(p netip.Prefix) netip.Addr {
	b := p.Masked().Addr().AsSlice()
	for bit := p.Bits(); bit < len(b)*8; bit++ {
		b[bit/8] |= 1 << (7 - bit%8)
	}
	a, _ := netip.AddrFromSlice(b) // as long as it was
	return a
}
