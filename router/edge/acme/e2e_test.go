//go:build e2e

package acme_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/foretier/foretier/health"
	"github.com/foretier/foretier/internal/servertest"
	"github.com/foretier/foretier/internal/testkit"
	"github.com/foretier/foretier/router/edge"
	"github.com/foretier/foretier/router/edge/acme"
	"github.com/foretier/foretier/router/edge/acme/redisstorage"
)

// A front is a gateway with its two servers.
type front struct {
	*acme.Manager
	secure *edge.Server
	log    *testkit.Log
	end    context.CancelFunc
}

// gateway starts one; its servers listen at free ports if the given ones are another's.
func gateway(t *testing.T, opts acme.Options, own *edge.CertificateSource, elsewhere bool) *front {
	t.Helper()
	f := &front{log: new(testkit.Log)}
	opts.Logger = f.log.Logger()
	var err error
	if f.Manager, err = acme.New(opts); err != nil {
		t.Fatal(err)
	}
	listen := func(port int) net.Listener {
		if elsewhere || port < 0 {
			port = 0
		}
		l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port})
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	page := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "the shop over "+r.Proto) })
	plain, err := edge.New(f.Handler(edge.HTTPSRedirect()), edge.Options{Listener: listen(opts.HTTPPort), Linger: -1, Logger: opts.Logger})
	if err != nil {
		t.Fatal(err)
	}
	f.secure, err = edge.New(page, edge.Options{Listener: listen(opts.TLSPort), Issuer: f.Manager, Certificates: own, Linger: -1, Logger: opts.Logger})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- f.secure.Run(ctx, edge.RunnerFunc(func(ctx context.Context) error { return plain.Run(ctx) }))
	}()
	f.end = func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		ended <- nil
	}
	t.Cleanup(f.end)
	return f
}

// shows returns the certificate with which f answers for a host, or why there is none
// that roots trust.
func (f *front) shows(host string, roots *x509.CertPool) (*x509.Certificate, error) {
	d := tls.Dialer{Config: &tls.Config{RootCAs: roots, ServerName: host, NextProtos: []string{"http/1.1"}}}
	conn, err := d.Dial("tcp", f.secure.Addr().String())
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	return conn.(*tls.Conn).ConnectionState().PeerCertificates[0], nil
}

// wants waits until f answers for a host with a certificate that roots trust, and that
// is not old.
func (f *front) wants(t *testing.T, host string, roots *x509.CertPool, old *x509.Certificate) *x509.Certificate {
	t.Helper()
	var cert *x509.Certificate
	testkit.Within(t, time.Minute, "a certificate for "+host, func() bool {
		c, err := f.shows(host, roots)
		cert = c
		return err == nil && (old == nil || !c.Equal(old))
	})
	return cert
}

func redisStorage(t *testing.T) acme.Storage {
	client := redis.NewClient(&redis.Options{Addr: servertest.Redis(t).Addr, ContextTimeoutEnabled: true})
	t.Cleanup(func() { client.Close() })
	return redisstorage.New(client, "")
}

// TestE2EGatewaysShareCertificates: one orders, and the other, at which the authority
// asks, answers; both serve what was issued, and later ones, and a third that comes
// without an authority has it from the storage.
func TestE2EGatewaysShareCertificates(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		storage func(*testing.T) acme.Storage
		tls     bool
	}{
		"a folder, by HTTP": {func(t *testing.T) acme.Storage { return acme.Folder(t.TempDir()) }, false},
		"Redis, by TLS":     {redisStorage, true},
	} {
		t.Run(name, func(t *testing.T) {
			httpPort, tlsPort := servertest.FreePort(t), servertest.FreePort(t)
			authority := servertest.NewPebble(t, httpPort, tlsPort, 30*time.Second)
			opts := acme.Options{
				Hosts: []string{"shop.example", "www.shop.example"}, Storage: c.storage(t), Directory: authority.Directory, Roots: authority.Roots,
				HTTPPort: httpPort, TLSPort: tlsPort, Check: time.Second, Email: "ops@shop.example",
			}
			if c.tls {
				opts.HTTPPort = -1
			} else {
				opts.TLSPort = -1
			}
			asked := gateway(t, opts, nil, false)
			other := gateway(t, opts, nil, true)
			roots := authority.Trust()
			first := asked.wants(t, "shop.example", roots, nil)
			asked.wants(t, "www.shop.example", roots, nil)
			for _, host := range opts.Hosts {
				other.wants(t, host, roots, nil)
			}
			if a, b := asked.Report(), other.Report(); a.State != health.Up || b.State != health.Up {
				t.Errorf("%v %s, %v %s", a.State, a.Why, b.State, b.Why)
			}
			if _, err := asked.shows("other.example", roots); err == nil {
				t.Error("a name of nobody's was answered for")
			}
			asked.wants(t, "shop.example", roots, first)
			other.wants(t, "shop.example", roots, first)
			authority.Kill()
			late := gateway(t, opts, nil, true)
			if got := late.wants(t, "shop.example", roots, nil); !got.NotAfter.After(first.NotAfter) {
				t.Errorf("the third has the first certificate, which ends at %s", got.NotAfter)
			}
		})
	}
}

func issued(r health.Report) float64 {
	for _, m := range r.Metrics {
		if m.Name == "certificates_issued_total" {
			return m.Value
		}
	}
	return -1
}

// TestE2EAnAuthorityThatIsDown keeps nobody from serving: clients get what there is.
func TestE2EAnAuthorityThatIsDown(t *testing.T) {
	t.Parallel()
	own := testkit.NewAuthority(t)
	certFile, keyFile := testkit.Files(t, t.TempDir(), "shop.example", own.Issue(t, "shop.example"))
	source, err := edge.Certificates(certFile, keyFile)
	if err != nil {
		t.Fatal(err)
	}
	opts := acme.Options{
		Hosts: []string{"shop.example"}, Storage: acme.Folder(t.TempDir()), Directory: "https://" + testkit.Nobody(t) + "/dir",
		HTTPPort: servertest.FreePort(t), TLSPort: servertest.FreePort(t),
	}
	f := gateway(t, opts, source, false)
	f.wants(t, "shop.example", own.Pool, nil)
	f.log.Wants(t, "certificate not issued", "shop.example", "connection refused")
	if r := f.secure.Report(); r.State != health.Degraded || !strings.Contains(r.Why, "no certificate yet for shop.example") || !strings.Contains(r.Why, "refused") {
		t.Errorf("%v: %s", r.State, r.Why)
	}
}

// TestE2EAnAuthorityThatComesUp after the first order has failed is asked again: after a
// minute, since authorities want attempts to be few.
func TestE2EAnAuthorityThatComesUp(t *testing.T) {
	t.Parallel()
	httpPort, tlsPort := servertest.FreePort(t), servertest.FreePort(t)
	authority := servertest.NewPebble(t, httpPort, tlsPort, time.Hour)
	authority.Kill()
	f := gateway(t, acme.Options{
		Hosts: []string{"shop.example"}, Storage: acme.Folder(t.TempDir()), Directory: authority.Directory, Roots: authority.Roots,
		HTTPPort: httpPort, TLSPort: tlsPort,
	}, nil, false)
	f.log.Wants(t, "certificate not issued", "shop.example", "connection refused")
	authority.Restart()
	roots := authority.Trust()
	testkit.Within(t, 3*time.Minute, "a certificate from an authority that has come up", func() bool {
		_, err := f.shows("shop.example", roots)
		return err == nil
	})
	if r := f.Report(); r.State != health.Up {
		t.Errorf("%v: %s", r.State, r.Why)
	}
}

// TestE2EAStorageThatIsDown at the start keeps nobody from serving, and is used once it
// has come up.
func TestE2EAStorageThatIsDown(t *testing.T) {
	t.Parallel()
	server := servertest.Redis(t)
	client := redis.NewClient(&redis.Options{Addr: server.Addr, ContextTimeoutEnabled: true, MaxRetries: -1})
	defer client.Close()
	httpPort, tlsPort := servertest.FreePort(t), servertest.FreePort(t)
	authority := servertest.NewPebble(t, httpPort, tlsPort, time.Hour)
	server.Kill()
	f := gateway(t, acme.Options{
		Hosts: []string{"shop.example"}, Storage: redisstorage.New(client, ""), Directory: authority.Directory, Roots: authority.Roots,
		HTTPPort: httpPort, TLSPort: tlsPort,
	}, nil, false)
	f.log.Wants(t, "certificate not issued", "redisstorage")
	server.Restart()
	f.wants(t, "shop.example", authority.Trust(), nil)
	server.Kill()
	if _, err := f.shows("shop.example", authority.Trust()); err != nil {
		t.Errorf("without its storage: %v", err)
	}
}

// TestE2EOneOrders of gateways that begin at once, and who speaks the authority's
// protocol while no challenge is under way, or to a name of nobody's, gets nothing.
func TestE2EOneOrders(t *testing.T) {
	t.Parallel()
	httpPort, tlsPort := servertest.FreePort(t), servertest.FreePort(t)
	authority := servertest.NewPebble(t, httpPort, tlsPort, time.Hour)
	opts := acme.Options{
		Hosts: []string{"shop.example"}, Storage: acme.Folder(t.TempDir()), Directory: authority.Directory, Roots: authority.Roots,
		HTTPPort: httpPort, TLSPort: tlsPort,
	}
	f, other := gateway(t, opts, nil, false), gateway(t, opts, nil, true)
	roots := authority.Trust()
	f.wants(t, "shop.example", roots, nil)
	other.wants(t, "shop.example", roots, nil)
	if a, b := issued(f.Report()), issued(other.Report()); a+b != 1 {
		t.Errorf("%v and %v were issued, want 1 in all", a, b)
	}
	for _, host := range []string{"shop.example", "other.example", ""} {
		config := &tls.Config{InsecureSkipVerify: true, ServerName: host, NextProtos: []string{"acme-tls/1"}}
		if conn, err := tls.Dial("tcp", f.secure.Addr().String(), config); err == nil {
			conn.Close()
			t.Errorf("%q: a handshake", host)
		}
	}
	// With another protocol beside it, it is a handshake like others, and all there is.
	conn, err := tls.Dial("tcp", f.secure.Addr().String(), &tls.Config{RootCAs: roots, ServerName: "shop.example", NextProtos: []string{"acme-tls/1", "foo"}})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if n, err := conn.Read(make([]byte, 100)); n > 0 || err != io.EOF {
		t.Errorf("%d bytes, %v", n, err)
	}
}
