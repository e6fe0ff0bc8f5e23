package balancer

import (
	"net"
	"net/http"
	"net/url"
	"time"
)

// newTransport returns the way to the backend at u.
//
// Idle connections are closed after 4 s, because many servers close theirs at
// 5 s and a request must not meet that moment. 32 of them are kept: more would
// hold the workers of a small Apache.
func newTransport(u *url.URL, o Options) http.RoundTripper {
	dialer := net.Dialer{Timeout: max(o.Timeouts.Dial, 0), KeepAlive: 30 * time.Second}
	t := &http.Transport{
		DialContext:           dialer.DialContext,
		TLSClientConfig:       o.TLS,
		TLSHandshakeTimeout:   max(o.Timeouts.Dial, 0),
		DisableCompression:    true, // what the client accepts goes on as it is
		MaxIdleConnsPerHost:   32,
		IdleConnTimeout:       4 * time.Second,
		ExpectContinueTimeout: time.Second,
		ReadBufferSize:        16 << 10,
		WriteBufferSize:       16 << 10,
	}
	t.Protocols = new(http.Protocols)
	switch u.Scheme {
	case "h2c":
		t.Protocols.SetUnencryptedHTTP2(true)
	case "https":
		t.Protocols.SetHTTP1(true)
		t.Protocols.SetHTTP2(true)
	default:
		t.Protocols.SetHTTP1(true)
	}
	return t
}
