package health

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
)

// Dial connects to the target: by TCP, and where its scheme is https or tls
// with the handshake done. A nil dialer is the zero one. ctx bounds both.
func (t Target) Dial(ctx context.Context, dialer *net.Dialer) (net.Conn, error) {
	if dialer == nil {
		dialer = new(net.Dialer)
	}
	conn, err := dialer.DialContext(ctx, "tcp", t.Address())
	if err != nil || t.URL.Scheme != "https" && t.URL.Scheme != "tls" {
		return conn, err
	}
	config := &tls.Config{}
	if t.TLS != nil {
		config = t.TLS.Clone()
	}
	if config.ServerName == "" {
		config.ServerName = t.URL.Hostname()
	}
	secure := tls.Client(conn, config)
	if err := secure.HandshakeContext(ctx); err != nil {
		_ = conn.Close() // what counts is why there was no handshake
		return nil, fmt.Errorf("TLS handshake: %w", err)
	}
	return secure, nil
}
