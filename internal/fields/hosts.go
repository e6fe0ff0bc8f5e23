package fields

import (
	"net/netip"
	"strings"
)

// SplitPort parts what a Host field or a URL's authority says into the host, as
// it was written, and the port with its colon, "" if there is none. An address of
// IPv6 without brackets has none.
func SplitPort(host string) (name, port string) {
	i := strings.LastIndexByte(host, ':')
	if i < 0 || strings.IndexByte(host[i:], ']') >= 0 || host[0] != '[' && strings.IndexByte(host, ':') < i {
		return host, ""
	}
	return host[:i], host[i:]
}

// Hostname returns the one form of what a Host field or a URL's authority names,
// by which hosts are compared: in lower case, without port and trailing dot; an
// address of IPv6 in its one form, in brackets and without a zone, which names an
// interface of the host that wrote it (RFC 5952, RFC 4007). It is for ASCII: other
// letters, of which some have a capital that is ASCII, stay.
//
// Where a host goes on, to a backend or into a cache's key, it does so as it was
// sent.
func Hostname(host string) string {
	name, _ := SplitPort(host)
	inner, brackets := strings.CutPrefix(name, "[")
	if brackets || strings.IndexByte(name, ':') >= 0 {
		if addr, err := netip.ParseAddr(strings.TrimSuffix(inner, "]")); err == nil && addr.Is6() {
			return "[" + addr.WithZone("").String() + "]"
		}
	}
	return toLower(strings.TrimSuffix(name, "."))
}

// toLower returns s with its ASCII letters in lower case, and s itself if they are.
func toLower(s string) string {
	for i := range len(s) {
		if lower(s[i]) == s[i] {
			continue
		}
		b := []byte(s)
		for ; i < len(b); i++ {
			b[i] = lower(b[i])
		}
		return string(b)
	}
	return s
}

// Host reports whether host is a name or an address, with or without port
// (RFC 3986, section 3.2.2, without percent-encoding).
func Host(host string) bool {
	name, port := SplitPort(host)
	if !goodPort(port) {
		return false
	}
	if inner, ok := strings.CutPrefix(name, "["); ok {
		inner, ok = strings.CutSuffix(inner, "]")
		addr, err := netip.ParseAddr(inner)
		return ok && err == nil && addr.Is6() && addr.Zone() == ""
	}
	if name == "" || len(name) > 255 || name[0] == '.' {
		return false
	}
	for i := range len(name) {
		if c := name[i]; !ofName[c] || c == '.' && name[i-1] == '.' {
			return false
		}
	}
	return true
}

// ofName marks the bytes of names of hosts, and of addresses of IPv4.
var ofName = func() (t [256]bool) {
	for _, c := range []byte("-._0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ") {
		t[c] = true
	}
	return t
}()

// goodPort reports whether s is empty or a colon and a port, which may be
// empty.
func goodPort(s string) bool {
	if s == "" {
		return true
	}
	for i := 1; i < len(s); i++ {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s[0] == ':' && len(s) <= 6
}

// PeerAddr reads the address of one end of a connection, with its port, as
// package net writes it and net/http has it in RemoteAddr. IPv4 in the form of
// IPv6 is IPv4, and a zone is dropped: no prefix contains an address with one, so
// that a rule against fe80::/10 would be open.
//
// It reads no address without port, other than [Addr]: none is an end of a
// connection. Middleware puts those into RemoteAddr which it has found in
// X-Forwarded-For, where anybody may write what they like.
func PeerAddr(s string) (netip.Addr, bool) {
	ap, err := netip.ParseAddrPort(s)
	return ap.Addr().Unmap().WithZone(""), err == nil
}

// Addr reads an address as proxies write it into X-Forwarded-For: with or without
// port and brackets. What it is has the form of [PeerAddr].
func Addr(s string) (netip.Addr, bool) {
	if addr, ok := PeerAddr(s); ok {
		return addr, true
	}
	if inner, ok := strings.CutPrefix(s, "["); ok {
		if s, ok = strings.CutSuffix(inner, "]"); !ok {
			return netip.Addr{}, false
		}
	}
	addr, err := netip.ParseAddr(s)
	return addr.Unmap().WithZone(""), err == nil
}
