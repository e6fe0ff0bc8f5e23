package edge_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/foretier/foretier/health"
	"github.com/foretier/foretier/internal/testkit"
	"github.com/foretier/foretier/router/edge"
)

// issues is an Issuer for tests.
type issues struct {
	name string
	cert tls.Certificate
	ran  atomic.Bool
	why  string
}

func (i *issues) Run(ctx context.Context) error { i.ran.Store(true); <-ctx.Done(); return nil }

func (i *issues) Report() health.Report {
	r := health.Report{Kind: "acme", Name: "acme", Why: i.why, State: health.Up}
	if i.why != "" {
		r.State = health.Degraded
	}
	return r
}

func (i *issues) Certificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	switch hello.ServerName {
	case i.name:
		return &i.cert, nil
	case "broken.example":
		return nil, errors.New("no")
	}
	return nil, nil
}

// TestIssuer: names for which it has none get what there is from files.
func TestIssuer(t *testing.T) {
	issued, own := testkit.NewAuthority(t), testkit.NewAuthority(t)
	certFile, keyFile := testkit.Files(t, t.TempDir(), "other.example", own.Issue(t, "other.example"))
	source, err := edge.Certificates(certFile, keyFile)
	if err != nil {
		t.Fatal(err)
	}
	page := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.Proto) })
	for name, source := range map[string]*edge.CertificateSource{"with files": source, "alone": nil} {
		t.Run(name, func(t *testing.T) {
			i := &issues{name: "shop.example", cert: issued.Issue(t, "shop.example"), why: "no certificate yet for www.shop.example"}
			srv := serve(t, page, edge.Options{Issuer: i, Certificates: source})
			dial := func(host string, authority *testkit.Authority, protos ...string) error {
				conn, err := tls.Dial("tcp", srv.Addr().String(), &tls.Config{ServerName: host, RootCAs: authority.Pool, NextProtos: protos})
				if err != nil {
					return err
				}
				defer conn.Close()
				if conn.ConnectionState().NegotiatedProtocol == "acme-tls/1" {
					_ = conn.SetReadDeadline(time.Now().Add(5 * time.Second))
					_, err = conn.Read(make([]byte, 1))
				}
				return err
			}
			if err := dial("shop.example", issued, "h2", "http/1.1"); err != nil {
				t.Error(err)
			}
			if err := dial("other.example", own); (err == nil) != (source != nil) {
				t.Errorf("a name of nobody's: %v", err)
			}
			if err := dial("broken.example", own); err == nil {
				t.Error("the issuer's error was passed over")
			}
			if err := dial("shop.example", issued, "acme-tls/1"); err != io.EOF {
				t.Errorf("a challenge's handshake: %v, want that the connection ends", err)
			}
			testkit.Within(t, 5*time.Second, "the issuer runs", i.ran.Load)
			if r := srv.Report(); r.State != health.Degraded || !strings.Contains(r.Why, i.why) || len(r.Parts) != 1 {
				t.Errorf("%v: %s, %d parts", r.State, r.Why, len(r.Parts))
			}
		})
	}
	if _, err := edge.New(page, edge.Options{NoPort: true, Issuer: &issues{}, TLS: &tls.Config{Certificates: []tls.Certificate{issued.Issue(t, "a.example")}}}); err == nil || !strings.Contains(err.Error(), "one of the two") {
		t.Errorf("certificates beside an Issuer: %v", err)
	}
}
