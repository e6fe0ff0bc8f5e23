package h3_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"log/slog"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"github.com/foretier/foretier/internal/testkit"
	"github.com/foretier/foretier/router/edge"
	"github.com/foretier/foretier/router/edge/h3"
)

// A front is a server with HTTP/3, and who trusts it.
type front struct {
	*edge.Server
	quic  *h3.Server
	roots *x509.CertPool
	end   func() error
}

// serve runs a server with HTTP/3 for shop.example, on one port of both kinds, until the
// test ends.
func serve(tb testing.TB, h http.Handler, opts edge.Options) *front {
	tb.Helper()
	authority := testkit.NewAuthority(tb)
	certs, err := edge.Certificates(testkit.Files(tb, tb.TempDir(), "shop", authority.Issue(tb, "shop.example")))
	if err != nil {
		tb.Fatal(err)
	}
	f := &front{roots: authority.Pool}
	if opts.TLS == nil && opts.Certificates == nil {
		opts.Certificates = certs
	}
	if f.quic, err = h3.New(h3.Options{Addr: "127.0.0.1:0"}); err != nil {
		tb.Fatal(err)
	}
	opts.Addr, opts.HTTP3 = "127.0.0.1:0", f.quic
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	if opts.Linger == 0 {
		opts.Linger = -1
	}
	if f.Server, err = edge.New(h, opts); err != nil {
		tb.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f.Run(ctx) }()
	for f.Ready() != nil {
		runtime.Gosched() // until Run has begun
	}
	ended := false
	f.end = func() error {
		if ended {
			return nil
		}
		ended = true
		cancel()
		return <-done
	}
	tb.Cleanup(func() {
		if err := f.end(); err != nil {
			tb.Errorf("Run: %v", err)
		}
	})
	testkit.Within(tb, 10*time.Second, "HTTP/3 is served", func() bool { return f.quic.Report().Why == "" })
	return f
}

// client returns one that speaks HTTP/3 to f, whatever it is asked for.
func (f *front) client(tb testing.TB) *http.Client {
	tb.Helper()
	tr := &http3.Transport{
		TLSClientConfig: &tls.Config{RootCAs: f.roots, ServerName: "shop.example"},
		Dial: func(ctx context.Context, _ string, t *tls.Config, c *quic.Config) (*quic.Conn, error) {
			return quic.DialAddr(ctx, f.quic.Addr().String(), t, c)
		},
		DisableCompression: true,
		QUICConfig:         &quic.Config{HandshakeIdleTimeout: time.Second}, // where nobody is any more
	}
	tb.Cleanup(func() { _ = tr.Close() })
	return &http.Client{Transport: tr, Timeout: time.Minute}
}

func get(tb testing.TB, c *http.Client, url string) (*http.Response, string) {
	tb.Helper()
	res, err := c.Get(url)
	if err != nil {
		tb.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		tb.Fatal(err)
	}
	return res, string(text)
}

func TestServes(t *testing.T) {
	var log testkit.Log
	f := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, strings.Join([]string{r.Proto, r.Method, r.Host, r.RequestURI, edge.Client(r).String(), r.Header.Get("X-Request-Id")}, " "))
	}), edge.Options{Logger: log.Logger()})
	res, body := get(t, f.client(t), "https://shop.example/a%2fb?c")
	want := "HTTP/3.0 GET shop.example /a%2fb?c 127.0.0.1 " + res.Header.Get("X-Request-Id")
	if body != want || res.StatusCode != 200 || res.Proto != "HTTP/3.0" {
		t.Errorf("%s: %q, want %q", res.Status, body, want)
	}
	_, port, _ := net.SplitHostPort(f.quic.Addr().String())
	if got := res.Header.Get("Alt-Svc"); got != `h3=":`+port+`"; ma=86400` {
		t.Errorf("Alt-Svc: %q", got)
	}
	log.Wants(t, "proto=HTTP/3.0", "status=200", "client=127.0.0.1", "scheme=https", "target=/a%2fb?c")
}
