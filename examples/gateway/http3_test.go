package main

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"github.com/foretier/foretier/internal/testkit"
)

// certified returns files with a certificate and its key, and what clients know it by.
func certified(t *testing.T) (trust *tls.Config, cert, key string) {
	authority := testkit.NewAuthority(t)
	cert, key = testkit.Files(t, t.TempDir(), "shop", authority.Issue(t, "shop.example"))
	return &tls.Config{RootCAs: authority.Pool, ServerName: "shop.example"}, cert, key
}

// http3Client returns one that speaks HTTP/3 to addr, whatever it is asked for.
func http3Client(t *testing.T, addr string, trust *tls.Config) *http.Client {
	tr := &http3.Transport{
		TLSClientConfig: trust.Clone(),
		QUICConfig:      &quic.Config{HandshakeIdleTimeout: time.Second}, // where nobody is
		Dial: func(ctx context.Context, _ string, t *tls.Config, c *quic.Config) (*quic.Conn, error) {
			return quic.DialAddr(ctx, addr, t, c)
		},
	}
	t.Cleanup(func() { _ = tr.Close() })
	return &http.Client{Transport: tr, Timeout: time.Minute}
}

// TestHTTP3: with -http3 on the shop is served over all three protocols, at one port, and
// clients are told.
func TestHTTP3(t *testing.T) {
	trust, cert, key := certified(t)
	addr, log, end := startServe(t, "-backends", visitorBackend(t, "web1"), "-tls-cert", cert, "-tls-key", key, "-http3", "on")
	_, port, _ := net.SplitHostPort(addr)
	for _, client := range []*http.Client{
		http3Client(t, addr, trust),
		{Transport: &http.Transport{TLSClientConfig: trust.Clone(), ForceAttemptHTTP2: true}},
		{Transport: &http.Transport{TLSClientConfig: trust.Clone()}},
	} {
		res, err := client.Get("https://" + addr + "/page")
		if err != nil {
			t.Fatal(err)
		}
		defer client.CloseIdleConnections()
		defer res.Body.Close()
		body, err := io.ReadAll(res.Body)
		if got := res.Header.Get("Alt-Svc"); string(body) != "web1" || err != nil || got != `h3=":`+port+`"; ma=86400` {
			t.Errorf("%s: %q, %v, Alt-Svc %q", res.Proto, body, err, got)
		}
	}
	log.Wants(t, "proto=HTTP/3.0", "target=/page", "status=200", "pool=")
	if code := end(); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// TestHTTP3ElsewhereIsSaid: where something in front leads another port to this one.
func TestHTTP3ElsewhereIsSaid(t *testing.T) {
	trust, cert, key := certified(t)
	addr, _, _ := startServe(t, "-backends", visitorBackend(t, "web1"), "-tls-cert", cert, "-tls-key", key, "-http3", "127.0.0.1:0", "-https-port", "443")
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: trust.Clone()}}
	defer client.CloseIdleConnections()
	res, err := client.Get("https://" + addr + "/page")
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if got := res.Header.Get("Alt-Svc"); !strings.HasPrefix(got, `h3=":443"`) {
		t.Errorf("Alt-Svc %q", got)
	}
}
