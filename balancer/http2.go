package balancer

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"

	"github.com/foretier/foretier/balancer/internal/h2"
	"github.com/foretier/foretier/health"
)

// errHTTP1 means that a backend which had chosen HTTP/2 has changed its mind.
// Nothing was sent.
var errHTTP1 = errors.New("balancer: the backend speaks HTTP/1")

// newHTTP2 returns the way to target, over TLS if its scheme is https.
func newHTTP2(target health.Target, dialer net.Dialer) *h2.Transport {
	if target.URL.Scheme != "https" {
		return h2.New("http", func(ctx context.Context) (net.Conn, error) { return target.Dial(ctx, &dialer) })
	}
	return h2.New("https", func(ctx context.Context) (net.Conn, error) {
		c, err := dialTLS(ctx, target, dialer)
		if t, ok := c.(*tls.Conn); ok && err == nil && t.ConnectionState().NegotiatedProtocol != "h2" {
			_ = c.Close() // what is wanted is another kind of connection
			return nil, errHTTP1
		}
		return c, err
	})
}

// overHTTP2 sends the request over the pool's own connections of HTTP/2.
func (t *try) overHTTP2(c *h2.Transport) error {
	t.fill()
	r, err := c.Exchange(t.ctx, &t.call)
	if err != nil {
		return err
	}
	if t.exchange.passage == nil {
		t.answer = answerOf(r.Response())
		return nil
	}
	t.answer = replied(r, r.Head, &r.Trailer)
	return nil
}

// dialTLS connects within the dialer's limit, once for the connection and once
// for the handshake.
func dialTLS(ctx context.Context, target health.Target, dialer net.Dialer) (net.Conn, error) {
	if dialer.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, 2*dialer.Timeout)
		defer cancel()
	}
	return target.Dial(ctx, &dialer)
}

// unprocessed reports whether a backend said over HTTP/2 that it has not looked
// at the request, so that it may be sent again whatever its method: by GOAWAY
// with a lower last stream (RFC 9113, section 6.8) or by REFUSED_STREAM (section
// 8.7). Over a user's own transport, the standard library gives the first no name,
// nor the second where it would have sent the request again itself.
func unprocessed(err error) bool {
	var own *h2.Unprocessed
	if errors.As(err, &own) {
		return true
	}
	var s streamError
	if errors.As(err, &s) {
		return s.Code == refusedStream
	}
	for ; err != nil; err = errors.Unwrap(err) {
		text := err.Error()
		if inner, ok := strings.CutPrefix(text, "http2: Transport: cannot retry err ["); ok {
			text, _, _ = strings.Cut(inner, "]")
			if strings.HasPrefix(text, "stream error: ") && strings.Contains(text, "; REFUSED_STREAM") {
				return true
			}
		}
		if text == "http2: Transport received Server's graceful shutdown GOAWAY" ||
			strings.HasPrefix(text, "http2: Transport received GOAWAY from server ErrCode:") {
			return true
		}
	}
	return false
}

// A streamError is the standard library's unexported error of that name, which
// converts itself to any type of the same fields.
type streamError struct {
	StreamID uint32
	Code     uint32
	Cause    error
}

const refusedStream = 7 // RFC 9113, section 7

func (e streamError) Error() string { return fmt.Sprintf("stream %d: error %d", e.StreamID, e.Code) }

// closeBody does what RoundTrip must, of a request that was not sent.
func closeBody(r *http.Request) {
	if r.Body != nil {
		_ = r.Body.Close() // of what is not sent nothing is wanted
	}
}
