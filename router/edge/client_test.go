package edge

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/foretier/foretier/internal/fields"
)

func TestClientWalk(t *testing.T) {
	trusted := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}
	cases := map[string]struct {
		peer string
		xff  []string
		want string
	}{
		"direct":                      {"192.0.2.1", nil, "192.0.2.1"},
		"a stranger's claim":          {"192.0.2.1", []string{"127.0.0.1"}, "192.0.2.1"},
		"one proxy":                   {"10.0.0.1", []string{"192.0.2.1"}, "192.0.2.1"},
		"forged before it":            {"10.0.0.1", []string{"127.0.0.1, 192.0.2.1"}, "192.0.2.1"},
		"two proxies":                 {"10.0.0.1", []string{"1.1.1.1, 192.0.2.1, 10.0.0.2"}, "192.0.2.1"},
		"two lines":                   {"10.0.0.1", []string{"192.0.2.1", "10.0.0.2"}, "192.0.2.1"},
		"all trusted":                 {"10.0.0.1", []string{"10.0.0.3, 10.0.0.2"}, "10.0.0.3"},
		"not an address":              {"10.0.0.1", []string{"192.0.2.1, unknown, 10.0.0.2"}, "10.0.0.2"},
		"with a port":                 {"10.0.0.1", []string{"192.0.2.1:4711"}, "192.0.2.1"},
		"IPv6 with a port":            {"fd00::1", []string{"[2001:db8::1]:4711"}, "2001:db8::1"},
		"IPv6 in brackets":            {"10.0.0.1", []string{"[2001:db8::1]"}, "2001:db8::1"},
		"half a bracket":              {"10.0.0.1", []string{"[2001:db8::1"}, "10.0.0.1"},
		"the other half":              {"10.0.0.1", []string{"2001:db8::1]"}, "10.0.0.1"},
		"a zone of somebody's":        {"10.0.0.1", []string{"fe80::1%eth0"}, "fe80::1"},
		"IPv4 in IPv6 is no stranger": {"10.0.0.1", []string{"192.0.2.1, ::ffff:10.0.0.2"}, "192.0.2.1"},
	}
	for name, c := range cases {
		if got := client(netip.MustParseAddr(c.peer), c.xff, trusted); got.String() != c.want {
			t.Errorf("%s: got %s, want %s", name, got, c.want)
		}
	}
}

// Whatever a chain claims, the answer is the peer or one of its entries, and
// only a trusted hop's word counts.
func FuzzClient(f *testing.F) {
	f.Add("10.0.0.1", "192.0.2.1, 10.0.0.2")
	f.Add("192.0.2.1", "127.0.0.1")
	f.Add("10.0.0.1", "[::1]:80,,fe80::1%eth0, unknown")
	f.Add("10.0.0.1", "::%\v")
	trusted := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	f.Fuzz(func(t *testing.T, peer, chain string) {
		from, ok := fields.Addr(peer)
		if !ok {
			return
		}
		got := client(from, []string{chain}, trusted)
		if got == from {
			return
		}
		if !within(trusted, from) {
			t.Errorf("an untrusted %s became %s", from, got)
		}
		for _, entry := range strings.Split(chain, ",") {
			if a, ok := fields.Addr(strings.Trim(entry, " \t\r\n")); ok && a == got {
				return
			}
		}
		t.Errorf("%s is nowhere in %q", got, chain)
	})
}

func TestDefaults(t *testing.T) {
	o, err := Options{}.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	const s = 1_000_000_000
	want := Limits{Header: 10 * s, Idle: 75 * s, TrustedIdle: 920 * s, BodyStall: 30 * s, WriteStall: 120 * s,
		UpgradeIdle: 3600 * s, Target: 8000, Headers: 32768, Streams: 100, Fields: 256}
	want.Conns = descriptors() / 2
	want.ClientConns = want.Conns / 2
	if o.Limits != want || o.Linger != 10*s || o.Drain != 30*s || o.Addr != ":80" {
		t.Errorf("got %+v", o)
	}
}
