package balancer

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/foretier/foretier/health"
	"github.com/foretier/foretier/internal/http1"
)

// An h2 is the way to a backend over HTTP/2: connections of the standard
// library, kept here and not in its [http.Transport]. That one sends again what
// it takes for unanswered, with pauses of seconds and to the same backend, and
// what may have been executed too; and its connections are everybody's, a
// login on one of them as well.
type h2 struct {
	address string
	factory *http.Transport // makes connections, and keeps none

	mu      sync.Mutex
	conns   []h2conn // guarded by mu: the latest last
	dialing *h2dial  // guarded by mu: nil while nobody dials
}

type h2conn struct {
	*http.ClientConn
	born time.Time
}

// An h2dial is one dial, for all who wait for a connection.
type h2dial struct {
	done chan struct{}
	err  error // read after done
}

// errHTTP1 means that a backend which had chosen HTTP/2 has changed its mind.
// Nothing was sent.
var errHTTP1 = errors.New("balancer: the backend speaks HTTP/1")

// newHTTP2 returns the way to target, over TLS if its scheme is https.
func newHTTP2(target health.Target, dialer net.Dialer) *h2 {
	t := &http.Transport{
		DialContext:        dialer.DialContext,
		DisableCompression: true, // what the client accepts goes on as it is
		IdleConnTimeout:    http1.KeepIdle,
		ReadBufferSize:     16 << 10,
		WriteBufferSize:    16 << 10,
		Protocols:          new(http.Protocols),
	}
	if target.URL.Scheme != "https" {
		t.Protocols.SetUnencryptedHTTP2(true)
	} else {
		t.Protocols.SetHTTP2(true)
		t.DialTLSContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			c, err := dialTLS(ctx, target, dialer)
			if t, ok := c.(*tls.Conn); ok && err == nil && t.ConnectionState().NegotiatedProtocol != "h2" {
				_ = c.Close() // what is wanted is another kind of connection
				return nil, errHTTP1
			}
			return c, err
		}
	}
	return &h2{address: target.Address(), factory: t}
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
// 8.7). The standard library gives the first no name, nor the second where it
// would have sent the request again itself, over a user's own transport.
func unprocessed(err error) bool {
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

// RoundTrip implements [http.RoundTripper]. It sends r once: what [unprocessed]
// reports of its error says whether it may be sent again.
func (c *h2) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Close {
		return c.alone(r)
	}
	conn, reused, err := c.take(r.Context(), r.URL.Scheme)
	if err != nil {
		closeBody(r)
		return nil, err
	}
	if t := httptrace.ContextClientTrace(r.Context()); t != nil && t.GotConn != nil {
		t.GotConn(httptrace.GotConnInfo{Reused: reused})
	}
	res, err := conn.RoundTrip(r)
	if err == nil && http1.LoggedIn(res.Header) {
		c.retire(conn)
	}
	return res, err
}

// alone sends a request after which the connection is to be closed, such as one
// that may log it in, on a connection that nobody else gets, not even meanwhile.
func (c *h2) alone(r *http.Request) (*http.Response, error) {
	conn, err := c.factory.NewClientConn(r.Context(), r.URL.Scheme, c.address)
	if err != nil {
		closeBody(r)
		return nil, err
	}
	res, err := conn.RoundTrip(r)
	if err != nil {
		_ = conn.Close() // what counts is why there is no response
		return nil, err
	}
	res.Body = &lastBody{res.Body, conn}
	return res, nil
}

// lastBody is a response's body whose connection ends with it.
type lastBody struct {
	io.ReadCloser
	conn *http.ClientConn
}

func (b *lastBody) Close() error {
	return errors.Join(b.ReadCloser.Close(), b.conn.Close())
}

// closeBody does what RoundTrip must, of a request that was not sent.
func closeBody(r *http.Request) {
	if r.Body != nil {
		_ = r.Body.Close() // of what is not sent nothing is wanted
	}
}

// take returns a connection with a place for one more request, which is
// reserved, and dials if there is none: once for all who wait.
func (c *h2) take(ctx context.Context, scheme string) (conn *http.ClientConn, reused bool, err error) {
	for {
		c.mu.Lock()
		if conn = c.reserveLocked(time.Now()); conn != nil {
			c.mu.Unlock()
			return conn, true, nil
		}
		d := c.dialing
		if d == nil {
			break
		}
		c.mu.Unlock()
		select {
		case <-d.done:
			if d.err != nil {
				return nil, false, d.err
			}
		case <-ctx.Done():
			return nil, false, context.Cause(ctx)
		}
	}
	d := &h2dial{done: make(chan struct{})}
	c.dialing = d
	c.mu.Unlock()
	conn, err = c.factory.NewClientConn(ctx, scheme, c.address)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.dialing = nil
	if ctx.Err() == nil { // else it is this caller's affair alone
		d.err = err
	}
	if err == nil {
		if err = conn.Reserve(); err != nil { // it goes away at once
			defer conn.Close()
		} else {
			c.conns = append(c.conns, h2conn{conn, time.Now()})
		}
	}
	close(d.done)
	return conn, false, err
}

// reserveLocked reserves a place on a connection that has one, and forgets
// those that are closed or old. Those that are left alone close themselves
// when they have idled long enough.
func (c *h2) reserveLocked(now time.Time) *http.ClientConn {
	c.conns = slices.DeleteFunc(c.conns, func(conn h2conn) bool {
		return conn.Err() != nil || now.Sub(conn.born) >= http1.MaxAge
	})
	for _, conn := range slices.Backward(c.conns) {
		if conn.Reserve() == nil {
			return conn.ClientConn
		}
	}
	return nil
}

// retire gives the connection to nobody any more.
func (c *h2) retire(conn *http.ClientConn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.conns = slices.DeleteFunc(c.conns, func(other h2conn) bool { return other.ClientConn == conn })
}

// CloseIdleConnections closes the connections that nobody uses.
func (c *h2) CloseIdleConnections() {
	c.mu.Lock()
	var idle []h2conn
	for _, conn := range c.conns {
		if conn.InFlight() == 0 {
			idle = append(idle, conn)
		}
	}
	c.conns = slices.DeleteFunc(c.conns, func(conn h2conn) bool { return slices.Contains(idle, conn) })
	c.mu.Unlock()
	for _, conn := range idle {
		_ = conn.Close() // nobody uses it
	}
}
