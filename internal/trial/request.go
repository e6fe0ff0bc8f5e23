// Package trial is what the packages for users' tests have in common: a request as a
// test states it, the answer that comes, and in words how that is another than the one
// that was wanted.
package trial

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/textproto"
	"strings"
)

// A Request is what is asked, and by whom.
type Request struct {
	Method string // empty means GET
	Target string // as in the request line: "/a%2Fb?c", or a URL
	Host   string // empty means shop.example
	// Client is who asks, ip or ip:port; empty means 192.0.2.1. Peer is the proxy through
	// which it comes, which says so in X-Forwarded-For; empty means none.
	Client, Peer string
	Fields       []string // "Name: value" each
	Body         string
	Secure       bool // over TLS
}

// HTTP returns the request as a server gets it. It is an error if a server refuses it
// unread, or if an address is none.
func (q *Request) HTTP(ctx context.Context) (*http.Request, error) {
	method, host := q.Method, q.Host
	if method == "" {
		method = http.MethodGet
	}
	if host == "" {
		host = "shop.example"
	}
	client, err := endpoint(q.Client, "192.0.2.1")
	if err != nil {
		return nil, fmt.Errorf("client %w", err)
	}
	peer, err := endpoint(q.Peer, client.String())
	if err != nil {
		return nil, fmt.Errorf("peer %w", err)
	}
	if strings.ContainsAny(method+q.Target+host, "\r\n") {
		return nil, fmt.Errorf("%q: a line of a request ends where it ends", q.Target)
	}
	// Absolute targets say the host themselves; whoever reads the head prefers that.
	head := fmt.Sprintf("%s %s HTTP/1.1\r\nHost: %s\r\n\r\n", method, q.Target, host)
	r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(head)))
	if err != nil {
		return nil, err
	}
	r = r.WithContext(ctx)
	for _, field := range q.Fields {
		name, value, _ := strings.Cut(field, ":")
		r.Header.Add(name, textproto.TrimString(value))
	}
	if q.Peer != "" {
		r.Header.Add("X-Forwarded-For", client.Addr().String())
	}
	r.RemoteAddr = peer.String()
	if q.Body != "" {
		r.Body, r.ContentLength = io.NopCloser(strings.NewReader(q.Body)), int64(len(q.Body))
	}
	if q.Secure {
		r.TLS = &tls.ConnectionState{Version: tls.VersionTLS13, HandshakeComplete: true, ServerName: r.Host}
	}
	return r, nil
}

// endpoint reads an address with or without a port.
func endpoint(s, otherwise string) (netip.AddrPort, error) {
	if s == "" {
		s = otherwise
	}
	if both, err := netip.ParseAddrPort(s); err == nil {
		return both, nil
	}
	addr, err := netip.ParseAddr(s)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("%q is no address: want one such as 203.0.113.9", s)
	}
	return netip.AddrPortFrom(addr, 1024), nil
}
