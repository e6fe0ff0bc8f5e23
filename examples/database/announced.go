package main

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/pires/go-proxyproto"
)

// announced takes the PROXY header off the connections that come from one of
// the given networks, which must begin with it, so that the client's address
// is the one told there. Others are taken as they are: a header of theirs
// would be a lie, and reaches the server as the garbage that it is.
func announced(l net.Listener, from []netip.Prefix) net.Listener {
	return listener{&proxyproto.Listener{
		Listener:          l,
		ReadHeaderTimeout: 5 * time.Second,
		ConnPolicy: func(o proxyproto.ConnPolicyOptions) (proxyproto.Policy, error) {
			peer, err := netip.ParseAddrPort(o.Upstream.String())
			for _, p := range from {
				if err == nil && p.Contains(peer.Addr().Unmap().WithZone("")) {
					return proxyproto.REQUIRE, nil
				}
			}
			return proxyproto.SKIP, nil
		},
	}}
}

type listener struct{ *proxyproto.Listener }

func (l listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if p, ok := c.(*proxyproto.Conn); ok {
		return conn{p}, err
	}
	return c, err
}

// conn has its header read before a server is bothered.
type conn struct{ *proxyproto.Conn }

// HandshakeContext is what [tcp.Pool.Serve] begins with, as with TLS.
func (c conn) HandshakeContext(context.Context) error {
	if _, err := c.Read(nil); err != nil {
		return fmt.Errorf("PROXY header: %w", err)
	}
	return nil
}
