package edgetest

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// A Listener has no port: connections come from its own Dial, in memory, which a bubble's
// clock waits for as it does for channels. It is an edge's Options.Listener. Safe for
// concurrent use.
type Listener struct {
	conns chan net.Conn
	ended chan struct{}
	end   func()
	ports atomic.Uint32 // that clients have had
}

// Listen returns a listener. Call it in the bubble in which it is used.
func Listen() *Listener {
	l := &Listener{conns: make(chan net.Conn), ended: make(chan struct{})}
	l.end = sync.OnceFunc(func() { close(l.ended) })
	return l
}

// Accept implements [net.Listener].
func (l *Listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.ended:
		return nil, net.ErrClosed
	}
}

// Close implements [net.Listener]: who dials from now on is refused.
func (l *Listener) Close() error {
	l.end()
	return nil
}

// Addr implements [net.Listener].
func (l *Listener) Addr() net.Addr { return net.TCPAddrFromAddrPort(here) }

// here is where clients believe that the tier is: a network for documentation.
var here = netip.MustParseAddrPort("198.51.100.1:443")

// Dial connects from an address, ip or ip:port, as a client does that speaks for itself,
// sends half a request or takes nothing of an answer, of which 64 KiB are on their way
// then, as with a socket. It has CloseWrite, too.
func (l *Listener) Dial(from string) (net.Conn, error) {
	return l.dial(context.Background(), from)
}

func (l *Listener) dial(ctx context.Context, from string) (net.Conn, error) {
	peer, err := l.endpoint(from)
	if err != nil {
		return nil, err
	}
	client, server := pipe(peer, here)
	select {
	case l.conns <- server:
		return client, nil
	case <-l.ended:
		return nil, fmt.Errorf("edgetest: connection from %s refused: %w", from, net.ErrClosed)
	case <-ctx.Done():
		return nil, fmt.Errorf("edgetest: connection from %s: nobody accepts it: %w", from, ctx.Err())
	}
}

// endpoint reads the address of a client, who has another port each time.
func (l *Listener) endpoint(from string) (netip.AddrPort, error) {
	if both, err := netip.ParseAddrPort(from); err == nil {
		return both, nil
	}
	addr, err := netip.ParseAddr(from)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("edgetest: %q is no address: want one such as 203.0.113.9", from)
	}
	return netip.AddrPortFrom(addr, uint16(1024+l.ports.Add(1)%60000)), nil
}

// Client returns a client at an address, ip or ip:port, that finds the listener whatever
// host it asks for, and speaks HTTP/1.1 with it, over TLS for https. It keeps its
// connections and cookies as a browser does, and follows no redirects, which are answers
// as well. It believes every certificate: a test has whatever it made itself.
func (l *Listener) Client(from string) *http.Client {
	jar, _ := cookiejar.New(nil) // fails never
	return &http.Client{
		Jar: jar,
		Transport: &http.Transport{
			DialContext:        func(ctx context.Context, _, _ string) (net.Conn, error) { return l.dial(ctx, from) },
			TLSClientConfig:    anyCertificate(""),
			DisableCompression: true, // what is sent is what is seen
			IdleConnTimeout:    time.Minute,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// anyCertificate is how clients here do TLS.
func anyCertificate(name string) *tls.Config {
	return &tls.Config{InsecureSkipVerify: true, ServerName: name, NextProtos: []string{"http/1.1"}}
}
