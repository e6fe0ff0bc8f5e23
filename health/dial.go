package health

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"syscall"
	"time"
)

// Dial connects to the target: by TCP, or by the socket of this machine that it is, and
// where its scheme is https or tls with the handshake done. The preface is sent first. A nil dialer is the zero
// one. ctx bounds all. A handshake that one side refuses, because of the
// other's certificate, is an error that wraps [ErrTurnedAway].
func (t Target) Dial(ctx context.Context, dialer *net.Dialer) (net.Conn, error) {
	if dialer == nil {
		dialer = new(net.Dialer)
	}
	network := "tcp"
	if t.local() {
		network = "unix"
	}
	conn, err := dial(ctx, dialer, network, t.Address())
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
		if _, ours := errors.AsType[*tls.CertificateVerificationError](err); ours || alerted(err) {
			err = fmt.Errorf("%w: %w", ErrTurnedAway, err)
		}
		return nil, fmt.Errorf("TLS handshake: %w", err)
	}
	return secure, nil
}

// dial connects. A server of this machine whose queue of connections is full refuses
// them at once, where one over TCP lets them wait: so it is asked again, for as long as
// the dialer has.
func dial(ctx context.Context, dialer *net.Dialer, network, address string) (net.Conn, error) {
	conn, err := dialer.DialContext(ctx, network, address)
	if !errors.Is(err, syscall.EAGAIN) {
		return conn, err
	}
	const every = 5 * time.Millisecond
	tick := time.NewTicker(every)
	defer tick.Stop()
	late := make(<-chan time.Time)
	if dialer.Timeout > 0 {
		late = time.After(dialer.Timeout)
	}
	for errors.Is(err, syscall.EAGAIN) {
		select {
		case <-tick.C:
			conn, err = dialer.DialContext(ctx, network, address)
		case <-late:
			return nil, err
		case <-ctx.Done():
			return nil, err
		}
	}
	return conn, err
}

// alerted reports whether err is a TLS alert of the other side's.
func alerted(err error) bool {
	op, ok := errors.AsType[*net.OpError](err)
	return ok && op.Op == "remote error"
}
