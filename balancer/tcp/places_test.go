package tcp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/foretier/foretier/balancer/internal/relay"
	"github.com/foretier/foretier/internal/testkit"
)

// A stranger is a client's connection from an address.
type stranger struct {
	net.Conn
	addr string
}

func (s stranger) RemoteAddr() net.Addr { return strangerAddr(s.addr) }

func strangerAddr(s string) net.Addr { return net.TCPAddrFromAddrPort(netip.MustParseAddrPort(s)) }

// TestOneClientsConnectionsLeavePlaces to those of others, of Serve; what the
// process dials itself is nobody's.
func TestOneClientsConnectionsLeavePlaces(t *testing.T) {
	p := newPool(t, Backends("tcp://"+testkit.Backend(t, testkit.Echo("a"))), Options{Limits: Limits{InFlight: 16, Queue: -1}})
	var links []*link
	for i := range 40 {
		l, err := p.connect(context.Background(), stranger{addr: fmt.Sprint("192.0.2.1:", 1000+i)})
		if err == nil {
			links = append(links, l)
		} else if !errors.Is(err, ErrBusy) {
			t.Fatal(err)
		}
	}
	if len(links) != 14 {
		t.Errorf("one client has %d of 16 places", len(links))
	}
	// Explain tells what serving does.
	if d := p.Explain(strangerAddr("192.0.2.1:1")); d.Verdict != "503" || !strings.Contains(d.Why, "its share") {
		t.Errorf("Explain of the same client: %s (%s)", d.Verdict, d.Why)
	}
	if d := p.Explain(strangerAddr("192.0.2.2:1")); d.Verdict != p.Backends()[0].Name {
		t.Errorf("Explain of another: %s (%s)", d.Verdict, d.Why)
	}
	other, err := p.connect(context.Background(), stranger{addr: "192.0.2.2:1"})
	if err != nil {
		t.Fatal(err)
	}
	own, err := p.connect(context.Background(), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range append(links, other, own) {
		relay.Abort(l.conn)
		l.free()
	}
	if n := p.view.Counted(); n != 0 || p.Backends()[0].InFlight != 0 {
		t.Errorf("afterwards %d are counted of clients", n)
	}
}
