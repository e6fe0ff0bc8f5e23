package tcp

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
)

// ProxyProtocol is a version of HAProxy's PROXY protocol, by which a backend
// learns who the client of a connection is. It must expect it: a backend that
// does not takes it for garbage.
type ProxyProtocol uint8

const (
	// ProxyV1 is a line of text.
	ProxyV1 ProxyProtocol = 1
	// ProxyV2 is binary, and shorter for IPv6.
	ProxyV2 ProxyProtocol = 2
)

// proxySignature begins a header of version 2.
const proxySignature = "\r\n\r\n\x00\r\nQUIT\n"

// header returns what goes in front of the client's bytes. A nil client is
// this process itself.
func (v ProxyProtocol) header(client net.Conn) []byte {
	var src, dst netip.AddrPort
	if client != nil {
		src, dst = addrPort(client.RemoteAddr()), addrPort(client.LocalAddr())
	}
	known := src.IsValid() && dst.IsValid()
	if known && src.Addr().Is4() != dst.Addr().Is4() {
		src, dst = as6(src), as6(dst)
	}
	if v == ProxyV1 {
		if !known {
			return []byte("PROXY UNKNOWN\r\n")
		}
		family := "TCP6"
		if src.Addr().Is4() {
			family = "TCP4"
		}
		return fmt.Appendf(nil, "PROXY %s %s %s %d %d\r\n", family, src.Addr(), dst.Addr(), src.Port(), dst.Port())
	}
	const local, proxied, tcp4, tcp6 = 0x20, 0x21, 0x11, 0x21
	out := []byte(proxySignature)
	if !known {
		return append(out, local, 0, 0, 0)
	}
	from, to := src.Addr().AsSlice(), dst.Addr().AsSlice()
	family := byte(tcp6)
	if src.Addr().Is4() {
		family = tcp4
	}
	out = append(out, proxied, family)
	out = binary.BigEndian.AppendUint16(out, uint16(2*len(from)+4))
	out = append(out, from...)
	out = append(out, to...)
	out = binary.BigEndian.AppendUint16(out, src.Port())
	return binary.BigEndian.AppendUint16(out, dst.Port())
}

// addrPort returns a's address without zone, IPv4 as such, or none.
func addrPort(a net.Addr) netip.AddrPort {
	t, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.AddrPort{}
	}
	ap := t.AddrPort()
	return netip.AddrPortFrom(ap.Addr().Unmap().WithZone(""), ap.Port())
}

func as6(ap netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom16(ap.Addr().As16()), ap.Port())
}
