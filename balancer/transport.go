package balancer

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/url"
	"slices"
	"sync/atomic"
	"time"

	"github.com/foretier/foretier/health"
	"github.com/foretier/foretier/internal/http1"
)

// newTransport returns the way to the backend at u: the pool's own for
// HTTP/1.1, the standard library's for HTTP/2.
func newTransport(u *url.URL, o Options) http.RoundTripper {
	dialer := net.Dialer{Timeout: max(o.Timeouts.Dial, 0), KeepAlive: 30 * time.Second}
	switch u.Scheme {
	case "tcp", "tls":
		return notHTTP{}
	case "http":
		address := health.Target{URL: u}.Address()
		return http1.New(func(ctx context.Context) (net.Conn, error) {
			return dialer.DialContext(ctx, "tcp", address)
		})
	case "https":
		return newSecure(u, o, dialer)
	}
	return newHTTP2(u, o, dialer)
}

// newHTTP2 returns the standard library's transport, for h2c, and for https
// where the backend has chosen HTTP/2.
func newHTTP2(u *url.URL, o Options, dialer net.Dialer) *http.Transport {
	t := &http.Transport{
		DialContext:           dialer.DialContext,
		TLSClientConfig:       o.TLS,
		TLSHandshakeTimeout:   max(o.Timeouts.Dial, 0),
		DisableCompression:    true, // what the client accepts goes on as it is
		MaxIdleConnsPerHost:   http1.MaxIdle,
		IdleConnTimeout:       http1.KeepIdle,
		ExpectContinueTimeout: time.Second,
		ReadBufferSize:        16 << 10,
		WriteBufferSize:       16 << 10,
		Protocols:             new(http.Protocols),
	}
	if u.Scheme == "h2c" {
		t.Protocols.SetUnencryptedHTTP2(true)
	} else {
		t.Protocols.SetHTTP1(true) // for upgrades, and a backend that has changed its mind
		t.Protocols.SetHTTP2(true)
	}
	return t
}

// secure is the way to a backend over TLS, which chooses the protocol in its
// handshake (RFC 7301): HTTP/1.1 goes over the pool's own connections, and from
// when it first chooses HTTP/2 all goes over the standard library's.
type secure struct {
	h1    *http1.Client
	h2    *http.Transport
	chose atomic.Bool // HTTP/2
}

// errHTTP2 means that the backend has chosen HTTP/2. Nothing was sent.
var errHTTP2 = errors.New("balancer: the backend speaks HTTP/2")

func newSecure(u *url.URL, o Options, dialer net.Dialer) *secure {
	config := &tls.Config{}
	if o.TLS != nil {
		config = o.TLS.Clone()
	}
	if len(config.NextProtos) == 0 {
		config.NextProtos = []string{"h2", "http/1.1"}
	}
	s := new(secure)
	if slices.Contains(config.NextProtos, "h2") {
		s.h2 = newHTTP2(u, o, dialer)
	}
	target := health.Target{URL: u, TLS: config}
	s.h1 = http1.New(func(ctx context.Context) (net.Conn, error) {
		if dialer.Timeout > 0 { // once for the connection, once for the handshake
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(ctx, 2*dialer.Timeout)
			defer cancel()
		}
		c, err := target.Dial(ctx, &dialer)
		if err != nil {
			return nil, err
		}
		if t, ok := c.(*tls.Conn); ok && t.ConnectionState().NegotiatedProtocol == "h2" {
			_ = c.Close() // what is wanted is another kind of connection
			s.chose.Store(true)
			return nil, errHTTP2
		}
		return c, nil
	})
	return s
}

// RoundTrip implements [http.RoundTripper]. The pool itself goes either way
// directly: see [try.send].
func (s *secure) RoundTrip(r *http.Request) (*http.Response, error) {
	if !s.chose.Load() {
		if res, err := s.h1.RoundTrip(r); err != errHTTP2 {
			return res, err
		}
	}
	return s.h2.RoundTrip(r)
}

// CloseIdleConnections lets go of the idle connections of both kinds.
func (s *secure) CloseIdleConnections() {
	s.h1.CloseIdleConnections()
	if s.h2 != nil {
		s.h2.CloseIdleConnections()
	}
}
