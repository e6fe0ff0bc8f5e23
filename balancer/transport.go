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

	"github.com/foretier/foretier/balancer/internal/h2"
	"github.com/foretier/foretier/health"
	"github.com/foretier/foretier/internal/http1"
)

// newTransport returns the way to the backend at u.
func newTransport(u *url.URL, o Options) http.RoundTripper {
	dialer := net.Dialer{Timeout: max(o.Timeouts.Dial, 0), KeepAlive: 30 * time.Second}
	switch u.Scheme {
	case "http", "unix":
		t := health.Target{URL: u}
		return http1.New(func(ctx context.Context) (net.Conn, error) { return t.Dial(ctx, &dialer) })
	case "https":
		return newSecure(u, o, dialer)
	case "fcgi":
		return noWay{}
	}
	return newHTTP2(health.Target{URL: u}, dialer)
}

// noWay is the way to a backend that [Options.Transport] has none to either.
type noWay struct{}

// errNoWay means that nobody knows how to speak to a backend.
var errNoWay = errors.New("balancer: Options.Transport has no way to this backend")

// RoundTrip implements [http.RoundTripper].
func (noWay) RoundTrip(r *http.Request) (*http.Response, error) {
	closeBody(r)
	return nil, errNoWay
}

// secure is the way to a backend over TLS, which chooses the protocol in its
// handshake (RFC 7301), and may change its mind when it is restarted. Upgrades
// are of HTTP/1.1 only.
type secure struct {
	h1    *http1.Transport
	h2    *h2.Transport    // nil: it is not offered
	older *http1.Transport // for upgrades, where h2 would be chosen; nil without h2
	chose atomic.Bool      // HTTP/2
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
	target := health.Target{URL: u, TLS: config}
	if slices.Contains(config.NextProtos, "h2") {
		s.h2 = newHTTP2(target, dialer)
		upgrades := target
		upgrades.TLS = config.Clone()
		upgrades.TLS.NextProtos = []string{"http/1.1"}
		s.older = http1.New(func(ctx context.Context) (net.Conn, error) { return dialTLS(ctx, upgrades, dialer) })
	}
	s.h1 = http1.New(func(ctx context.Context) (net.Conn, error) {
		c, err := dialTLS(ctx, target, dialer)
		if t, ok := c.(*tls.Conn); ok && err == nil && t.ConnectionState().NegotiatedProtocol == "h2" {
			_ = c.Close() // what is wanted is another kind of connection
			s.chose.Store(true)
			return nil, errHTTP2
		}
		return c, err
	})
	return s
}

// overHTTP1 returns the way over HTTP/1.1 for a request with this header, nil
// if it is to go over HTTP/2.
func (s *secure) overHTTP1(h http.Header) *http1.Transport {
	switch {
	case !s.chose.Load():
		return s.h1
	case h["Upgrade"] != nil:
		return s.older
	}
	return nil
}

// RoundTrip implements [http.RoundTripper]. The pool itself goes either way
// directly: see [try.send].
func (s *secure) RoundTrip(r *http.Request) (*http.Response, error) {
	for {
		if c := s.overHTTP1(r.Header); c != nil {
			if res, err := c.RoundTrip(r); err != errHTTP2 {
				return res, err
			}
			continue
		}
		res, err := s.h2.RoundTrip(r)
		if errors.Is(err, errHTTP1) {
			s.chose.Store(false)
		}
		return res, err
	}
}

// CloseIdleConnections closes the idle connections of all kinds.
func (s *secure) CloseIdleConnections() {
	s.h1.CloseIdleConnections()
	if s.h2 != nil {
		s.h2.CloseIdleConnections()
		s.older.CloseIdleConnections()
	}
}
