package transit

import (
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"
)

func TestClientAndSchemeWithoutEdge(t *testing.T) {
	r := httptest.NewRequest("GET", "http://shop.example/", nil)
	r.RemoteAddr = "[::ffff:192.0.2.7]:1234"
	if got := Client(r).String(); got != "192.0.2.7" {
		t.Errorf("Client: got %s", got)
	}
	if Scheme(r) != "http" {
		t.Errorf("Scheme: got %s", Scheme(r))
	}
	r.RemoteAddr = "pipe"
	if Client(r).IsValid() {
		t.Error("Client invented an address")
	}
}

// A peer on the link has a zone, and no prefix contains an address with one.
func TestPeerIsWithinPrefixes(t *testing.T) {
	for remote, network := range map[string]string{
		"[fe80::1%eth0]:80": "fe80::/10", "[::ffff:192.0.2.1]:80": "192.0.2.0/24", "[::ffff:192.0.2.1%1]:80": "192.0.2.0/24", "192.0.2.1:80": "192.0.2.1/32",
	} {
		if peer := Peer(&http.Request{RemoteAddr: remote}); !netip.MustParsePrefix(network).Contains(peer) {
			t.Errorf("%s is %v, which is not within %s", remote, peer, network)
		}
	}
}
