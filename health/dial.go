package health

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
)

// Dial connects to the target: by TCP, and where its scheme is https or tls
// with the handshake done. The preface is sent first. A nil dialer is the zero
// one. ctx bounds all.
func (t Target) Dial(ctx context.Context, dialer *net.Dialer) (net.Conn, error) {
	if dialer == nil {
		dialer = new(net.Dialer)
	}
	conn, err := dialer.DialContext(ctx, "tcp", t.Address())
	if err != nil {
		return nil, err
	}
	if len(t.Preface) > 0 {
		// A new connection has room for it; that it is gone is an error.
		if _, err := conn.Write(t.Preface); err != nil {
			_ = conn.Close()
			return nil, fmt.Errorf("preface: %w", err)
		}
	}
	if t.URL.Scheme != "https" && t.URL.Scheme != "tls" {
		return conn, nil
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
