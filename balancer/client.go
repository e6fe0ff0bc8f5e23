package balancer

import (
	"net/http"
	"net/netip"

	"github.com/foretier/foretier/internal/transit"
)

// clientOf returns what counts as one client. The zero Addr: nobody knows who asks,
// as under an http.Client.
func clientOf(r *http.Request) netip.Addr { return transit.Network(transit.Client(r)) }
