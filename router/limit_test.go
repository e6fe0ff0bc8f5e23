package router

import (
	"net/netip"
	"testing"
	"time"
)

// However many clients come, the limiter stays small, and those with
// something on their account are the last to be forgotten.
func TestLimiterForgets(t *testing.T) {
	l := newLimiter("rule", Limit{Rate: 1})
	now := time.Unix(1e9, 0)
	client := func(n int) netip.Addr {
		return netip.AddrFrom4([4]byte{10, byte(n >> 16), byte(n >> 8), byte(n)})
	}
	for n := range maxClients {
		l.rate(client(n), now, true)
	}
	now = now.Add(time.Minute)
	if _, ok := l.rate(client(maxClients), now, true); !ok || len(l.v4.own) != 1 {
		t.Errorf("those of a minute ago are still there: %d", len(l.v4.own))
	}
	if _, ok := l.rate(client(maxClients), now, true); ok {
		t.Error("the latest was forgotten")
	}
	for n := range 2 * maxClients {
		l.rate(client(n), now, true)
	}
	if len(l.v4.own) > maxClients || len(l.v4.crowd) > crowds {
		t.Errorf("%d clients", len(l.v4.own))
	}
}

// TestWhoIsLimitedStaysSo, whoever else comes: more clients than are remembered,
// who have sent once or all that they may, from networks far apart or of one site.
func TestWhoIsLimitedStaysSo(t *testing.T) {
	v4 := func(n int) netip.Addr { return netip.AddrFrom4([4]byte{10, byte(n >> 16), byte(n >> 8), byte(n)}) }
	far := func(n int) netip.Addr { // a /48 each
		return netip.AddrFrom16([16]byte{0x20, 1, byte(n >> 16), byte(n >> 8), byte(n)})
	}
	near := func(n int) netip.Addr { // a /64 each, of two /48s
		return netip.AddrFrom16([16]byte{0x20, 2, 5: byte(n >> 16), 6: byte(n >> 8), 7: byte(n)})
	}
	for name, others := range map[string]func(int) netip.Addr{"IPv4": v4, "/48s": far, "/64s": near} {
		for _, limit := range []Limit{{Rate: 0.1, Burst: 4}, {Rate: 0.1, Burst: 1}} {
			for _, each := range []int{1, limit.Burst + 1} {
				l := newLimiter("rule", limit)
				now := time.Unix(1e9, 0)
				var limited []netip.Addr
				for n := range 50 {
					limited = append(limited, netip.AddrFrom4([4]byte{192, 0, 2, byte(n)}), netip.AddrFrom16([16]byte{0x20, 3, byte(n)}))
				}
				for _, client := range limited {
					for range limit.Burst + 1 {
						l.rate(client, now, true)
					}
				}
				for n := range 80_000 {
					for range each {
						l.rate(others(n), now, true)
					}
				}
				for _, client := range limited {
					if _, ok := l.rate(client, now, true); ok {
						t.Errorf("%s, %+v, %d of each: %s is forgotten", name, limit, each, client)
					}
				}
				if n := max(len(l.v4.own), len(l.v6.own), len(l.sites.own)); n > maxClients {
					t.Errorf("%s: %d accounts", name, n)
				}
				// IPv4 and IPv6 take no room from each other.
				other := "192.0.2.99"
				if name == "IPv4" {
					other = "2001:db8:2::"
				}
				if _, ok := l.rate(netip.MustParseAddr(other), now, true); !ok {
					t.Errorf("%s: somebody else is limited", name)
				}
			}
		}
	}
}

// TestASiteIsLimited: all /64s of one /48 may send as much as some clients.
func TestASiteIsLimited(t *testing.T) {
	l := newLimiter("rule", Limit{Rate: 1, Burst: 2})
	now := time.Unix(1e9, 0)
	served := 0
	for n := range 1000 {
		client := netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 6: byte(n >> 8), 7: byte(n)})
		wait, ok := l.rate(client, now, false)
		if w, took := l.rate(client, now, true); took != ok || w > 0 != (wait > 0) {
			t.Fatalf("asked it says %v, %v, counted %v, %v", wait, ok, w, took)
		} else if took {
			served++
		}
	}
	if want := 2 * siteShare; served != want {
		t.Errorf("%d requests of one /48 were served, want %d", served, want)
	}
	if _, ok := l.rate(netip.MustParseAddr("2001:db8:1::1"), now, true); !ok {
		t.Error("the next /48 is limited as well")
	}
	if n := len(l.v6.own) - 1; n > served { // with the one of the next
		t.Errorf("%d accounts of those who were turned away", n-served)
	}
}

// TestCountingCostsNoMemory of one who is known.
func TestCountingCostsNoMemory(t *testing.T) {
	l := newLimiter("rule", Limit{Rate: 1e9, Burst: 1e6})
	client, now := netip.MustParseAddr("2001:db8::1"), time.Unix(1e9, 0)
	l.rate(client, now, true)
	if n := testing.AllocsPerRun(100, func() { l.rate(client, now, true) }); n > 0 {
		t.Errorf("%v allocations a request", n)
	}
}
