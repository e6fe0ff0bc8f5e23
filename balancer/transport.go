package balancer

import (
	"context"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/foretier/foretier/health"
	"github.com/foretier/foretier/internal/http1"
)

// newTransport returns the way to the backend at u: the pool's own for
// HTTP/1.1, and the standard library's where TLS or HTTP/2 come in.
func newTransport(u *url.URL, o Options) http.RoundTripper {
	if u.Scheme == "tcp" || u.Scheme == "tls" {
		return notHTTP{}
	}
	dialer := net.Dialer{Timeout: max(o.Timeouts.Dial, 0), KeepAlive: 30 * time.Second}
	if u.Scheme == "http" {
		address := health.Target{URL: u}.Address()
		return http1.New(func(ctx context.Context) (net.Conn, error) {
			return dialer.DialContext(ctx, "tcp", address)
		})
	}
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
		t.Protocols.SetHTTP1(true)
		t.Protocols.SetHTTP2(true)
	}
	return t
}
