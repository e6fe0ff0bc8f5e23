package ranges

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
)

func prefixes(texts ...string) (out []netip.Prefix) {
	for _, t := range texts {
		out = append(out, netip.MustParsePrefix(t))
	}
	return out
}

func TestContains(t *testing.T) {
	s, err := New(prefixes("10.0.0.0/8", "10.1.0.0/16", "192.0.2.7/32", "192.0.2.8/31", "255.255.255.255/32",
		"::ffff:198.51.100.0/120", "2001:db8::/32", "2001:db8:1::/48", "2001:db9::/64", "fe80::1/128", "ffff::/16"))
	if err != nil {
		t.Fatal(err)
	}
	for addr, want := range map[string]bool{
		"9.255.255.255": false, "10.0.0.0": true, "10.1.2.3": true, "10.255.255.255": true, "11.0.0.0": false,
		"192.0.2.6": false, "192.0.2.7": true, "192.0.2.9": true, "192.0.2.10": false,
		"198.51.100.9": true, "::ffff:198.51.100.9": true, "::ffff:10.0.0.1": true, "198.51.101.0": false,
		"0.0.0.0": false, "255.255.255.254": false, "255.255.255.255": true,
		"2001:db7:ffff::": false, "2001:db8::": true, "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff": true,
		"2001:db9::ffff": true, "2001:db9:0:1::": false, "fe80::1": true, "fe80::1%eth0": true, "fe80::2": false,
		"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff": true, "::": false, "::a00:1": false,
	} {
		if got := s.Contains(netip.MustParseAddr(addr)); got != want {
			t.Errorf("%s: %t", addr, got)
		}
	}
	if s.Contains(netip.Addr{}) || (*Set)(nil).Contains(netip.MustParseAddr("10.0.0.1")) {
		t.Error("nobody's address, or nobody's set")
	}
	if n := len(s.v4); n != 4 {
		t.Errorf("%d spans of IPv4: %v", n, s.v4)
	}
	if _, err := New(make([]netip.Prefix, 1)); err == nil {
		t.Error("the zero Prefix was taken")
	}
	all, _ := New(prefixes("0.0.0.0/0", "10.0.0.0/8", "::/0", "1::/16"))
	for _, addr := range []string{"0.0.0.0", "255.255.255.255", "::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"} {
		if !all.Contains(netip.MustParseAddr(addr)) {
			t.Errorf("%s is not everybody", addr)
		}
	}
	if len(all.v4) != 1 || len(all.v6) != 1 {
		t.Errorf("%v %v", all.v4, all.v6)
	}
}

// A set says what its prefixes say one by one.
func TestContainsLikeItsPrefixes(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	random := func() netip.Addr {
		if rnd.IntN(2) == 0 {
			return netip.AddrFrom4([4]byte{10, byte(rnd.IntN(2)), byte(rnd.Uint32()), byte(rnd.Uint32())})
		}
		return netip.AddrFrom16([16]byte{0: 0x20, 7: byte(rnd.IntN(3)), 8: byte(rnd.IntN(2) * 255), 15: byte(rnd.Uint32())})
	}
	for range 300 {
		var list []netip.Prefix
		for range rnd.IntN(12) {
			a := random()
			list = append(list, netip.PrefixFrom(a, a.BitLen()-rnd.IntN(a.BitLen()+1)*rnd.IntN(2)))
		}
		s, err := New(list)
		if err != nil {
			t.Fatal(err)
		}
		for range 200 {
			a := random()
			if want := slices.ContainsFunc(list, func(p netip.Prefix) bool { return p.Contains(a) }); s.Contains(a) != want {
				t.Fatalf("%s in %v: want %t", a, list, want)
			}
		}
	}
}

func BenchmarkContains(b *testing.B) {
	const n = 100_000
	list := make([]netip.Prefix, n)
	addrs := make([]netip.Addr, n)
	rnd := rand.New(rand.NewPCG(1, 2))
	for i := range list {
		var a [4]byte
		binary.BigEndian.PutUint32(a[:], rnd.Uint32())
		list[i] = netip.PrefixFrom(netip.AddrFrom4(a), 24+rnd.IntN(9))
		binary.BigEndian.PutUint32(a[:], rnd.Uint32())
		addrs[i] = netip.AddrFrom4(a)
	}
	s, err := New(list)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		s.Contains(addrs[i])
		if i++; i == n {
			i = 0
		}
	}
}

func BenchmarkNew(b *testing.B) {
	list := make([]netip.Prefix, 100_000)
	rnd := rand.New(rand.NewPCG(1, 2))
	for i := range list {
		var a [4]byte
		binary.BigEndian.PutUint32(a[:], rnd.Uint32())
		list[i] = netip.PrefixFrom(netip.AddrFrom4(a), 32)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := New(list); err != nil {
			b.Fatal(err)
		}
	}
}
