package fields

import "testing"

func TestHostname(t *testing.T) {
	cases := []struct{ host, name, port, hostname string }{
		{"", "", "", ""},
		{"shop.example", "shop.example", "", "shop.example"},
		{"Shop.Example.:8080", "Shop.Example.", ":8080", "shop.example"},
		{"shop.example:", "shop.example", ":", "shop.example"},
		{"shop.example..", "shop.example..", "", "shop.example."},
		{":80", "", ":80", ""},
		{"*.Shop.Example", "*.Shop.Example", "", "*.shop.example"},
		{"10.0.0.1:80", "10.0.0.1", ":80", "10.0.0.1"},
		{"[::1]", "[::1]", "", "[::1]"},
		{"[::1]:443", "[::1]", ":443", "[::1]"},
		{"[2001:DB8:0:0::1]:443", "[2001:DB8:0:0::1]", ":443", "[2001:db8::1]"},
		{"[fe80::1%eth0]:80", "[fe80::1%eth0]", ":80", "[fe80::1]"},
		{"2001:DB8::1", "2001:DB8::1", "", "[2001:db8::1]"},
		{"[10.0.0.1]", "[10.0.0.1]", "", "[10.0.0.1]"},
		{"a:b:c", "a:b:c", "", "a:b:c"},
		{"[", "[", "", "["},
		{"]:", "]", ":", "]"},
		// U+212A, of which strings.ToLower makes a k, and U+0130, of which it makes an i.
		{"\u212aiosk.example", "\u212aiosk.example", "", "\u212aiosk.example"},
		{"\u0130.EXAMPLE", "\u0130.EXAMPLE", "", "\u0130.example"},
	}
	for _, c := range cases {
		if name, port := SplitPort(c.host); name != c.name || port != c.port {
			t.Errorf("%q: %q and port %q", c.host, name, port)
		}
		got := Hostname(c.host)
		if got != c.hostname {
			t.Errorf("%q is %q, want %q", c.host, got, c.hostname)
		}
		if again := Hostname(got); again != got && c.host != "shop.example.." {
			t.Errorf("%q is %q, and that is %q", c.host, got, again)
		}
	}
	if testing.AllocsPerRun(10, func() { Hostname("www.shop.example:8080") }) != 0 {
		t.Error("a host in its one form allocates")
	}
}

// TestAddr: proxies write an address with or without port and brackets; what is
// at the other end of a connection has a port, and is nobody who says so.
func TestAddr(t *testing.T) {
	cases := []struct{ text, addr, peer string }{
		{"192.0.2.1:80", "192.0.2.1", "192.0.2.1"},
		{"[2001:db8::1]:80", "2001:db8::1", "2001:db8::1"},
		{"[::ffff:192.0.2.1]:80", "192.0.2.1", "192.0.2.1"},
		{"[fe80::1%eth0]:80", "fe80::1", "fe80::1"},
		{"192.0.2.1", "192.0.2.1", ""},
		{"2001:db8::1", "2001:db8::1", ""},
		{"[2001:db8::1]", "2001:db8::1", ""},
		{"::ffff:192.0.2.1", "192.0.2.1", ""},
		{"[2001:db8::1", "", ""},
		{"192.0.2.1, 192.0.2.2", "", ""},
		{"shop.example:80", "", ""},
		{"unknown", "", ""},
		{"@", "", ""},
		{"", "", ""},
	}
	for _, c := range cases {
		if got, ok := Addr(c.text); ok != (c.addr != "") || ok && got.String() != c.addr {
			t.Errorf("%q: %v, want %q", c.text, got, c.addr)
		}
		if got, ok := PeerAddr(c.text); ok != (c.peer != "") || ok && got.String() != c.peer {
			t.Errorf("%q at the other end: %v, want %q", c.text, got, c.peer)
		}
	}
}

func TestHost(t *testing.T) {
	for host, want := range map[string]bool{
		"shop.example": true, "SHOP.example.": true, "shop_1.example:8080": true, "[::1]": true, "[::1]:80": true, "192.0.2.1": true, "shop.example:": true,
		"": false, ".": false, ".shop.example": false, "a..b": false, "a/b": false, "a@b": false, "a:b": false, "a:123456": false,
		"[::1": false, "[]": false, "[::1]x": false, "a b": false, "a%2eb": false, "a,b": false, "\u00fc.example": false, ":80": false,
	} {
		if got := Host(host); got != want {
			t.Errorf("%q: got %t", host, got)
		}
	}
}
