package edge_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/foretier/foretier/health"
	"github.com/foretier/foretier/internal/testkit"
	"github.com/foretier/foretier/router/edge"
)

// pair writes a certificate for host and returns its files.
func pair(t *testing.T, dir, host string, ends time.Time) (certFile, keyFile string) {
	t.Helper()
	return testkit.Files(t, dir, host, testkit.NewAuthority(t).IssueUntil(t, host, ends))
}

func TestTLS(t *testing.T) {
	certFile, keyFile := pair(t, t.TempDir(), "shop.example", time.Now().Add(90*24*time.Hour))
	certs, err := edge.Certificates(certFile, keyFile)
	if err != nil {
		t.Fatal(err)
	}
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.Proto) })
	srv := serve(t, h, edge.Options{Certificates: certs})
	pool := x509.NewCertPool()
	text, err := os.ReadFile(certFile)
	if err != nil || !pool.AppendCertsFromPEM(text) {
		t.Fatal(err)
	}
	for proto, h2 := range map[string]bool{"HTTP/1.1": false, "HTTP/2.0": true} {
		tr := &http.Transport{ForceAttemptHTTP2: h2, TLSClientConfig: &tls.Config{RootCAs: pool, ServerName: "shop.example"}}
		if !h2 {
			tr.TLSClientConfig.NextProtos = []string{"http/1.1"}
		}
		res, err := (&http.Client{Transport: tr}).Get("https://" + srv.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(res.Body)
		res.Body.Close()
		if string(body) != proto {
			t.Errorf("got %s, want %s", body, proto)
		}
		tr.CloseIdleConnections()
	}
	_, err = tls.Dial("tcp", srv.Addr().String(), &tls.Config{RootCAs: pool, ServerName: "shop.example", MaxVersion: tls.VersionTLS11})
	if err == nil {
		t.Error("TLS 1.1 was accepted")
	}
}

// Each name gets its own certificate, and the first one is for the rest.
func TestSeveralCertificates(t *testing.T) {
	dir := t.TempDir()
	ends := time.Now().Add(90 * 24 * time.Hour)
	certs, err := edge.Certificates(pair(t, dir, "a.example", ends))
	if err != nil {
		t.Fatal(err)
	}
	if err := certs.Add(pair(t, dir, "b.example", ends)); err != nil {
		t.Fatal(err)
	}
	if err := certs.Add(filepath.Join(dir, "none"), filepath.Join(dir, "none")); err == nil {
		t.Error("a pair that is not there was added")
	}
	srv := serve(t, http.NotFoundHandler(), edge.Options{Certificates: certs})
	if srv.Report().Why != "" {
		t.Errorf("warns of %s", srv.Report().Why)
	}
	for _, c := range []struct{ name, want string }{{"a.example", "a.example"}, {"b.example", "b.example"}, {"c.example", "a.example"}} {
		if got := served(t, srv, c.name); got != c.want {
			t.Errorf("%s got the certificate of %s", c.name, got)
		}
	}
}

// served returns whose certificate a client that asks for name gets.
func served(t *testing.T, srv *edge.Server, name string) string {
	t.Helper()
	var got string
	c, err := tls.Dial("tcp", srv.Addr().String(), &tls.Config{ServerName: name,
		InsecureSkipVerify: true, // looks at the certificate itself
		VerifyConnection: func(s tls.ConnectionState) error {
			got = s.PeerCertificates[0].Subject.CommonName
			return nil
		}})
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	return got
}

func TestCertificateWarning(t *testing.T) {
	certs, err := edge.Certificates(pair(t, t.TempDir(), "a.example", time.Now().Add(13*24*time.Hour)))
	if err != nil {
		t.Fatal(err)
	}
	srv := serve(t, http.NotFoundHandler(), edge.Options{Certificates: certs})
	if got := srv.Report(); got.State != health.Degraded || !strings.Contains(got.Why, "a.example ends on") {
		t.Errorf("13 days before the end: %s, %s", got.State, got.Why)
	}
}

// New files are taken up within a minute, bad ones are not.
func TestCertificatesAreReread(t *testing.T) {
	dir := t.TempDir()
	certFile, keyFile := pair(t, dir, "a.example", time.Now().Add(90*24*time.Hour))
	synctest.Test(t, func(t *testing.T) {
		certs, err := edge.Certificates(certFile, keyFile)
		if err != nil {
			t.Fatal(err)
		}
		l := newPipeListener()
		var log lines
		srv, err := edge.New(http.NotFoundHandler(), edge.Options{Listener: l, Certificates: certs, Linger: -1, Logger: log.Logger()})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- srv.Run(ctx) }()
		leaf := func() *big.Int {
			c, err := certs.GetCertificate(&tls.ClientHelloInfo{ServerName: "a.example"})
			if err != nil {
				t.Fatal(err)
			}
			return c.Leaf.SerialNumber
		}
		first := leaf()
		if err := os.WriteFile(certFile, []byte("half a file"), 0o600); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Minute)
		synctest.Wait() // for who reads the files at this very moment
		if leaf().Cmp(first) != 0 {
			t.Error("a bad file was taken up")
		}
		if err := os.WriteFile(certFile, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := certs.Reload(); err == nil {
			t.Error("an empty file was taken up")
		}
		if err := os.WriteFile(keyFile, nil, 0o600); err != nil { // which is the same fault
			t.Fatal(err)
		}
		time.Sleep(5 * time.Minute)
		synctest.Wait() // for who reads the files at this very moment
		ends := time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC)
		pair(t, dir, "a.example", ends)
		time.Sleep(61 * time.Second)
		if leaf().Cmp(first) == 0 {
			t.Error("the new file was not taken up")
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		var messages []string
		for _, m := range log.all(t) {
			messages = append(messages, m["msg"].(string))
		}
		got := strings.Join(messages, "; ")
		if n := strings.Count(got, "not taken up"); n != 1 {
			t.Errorf("%d lines for a fault that was told at once, and one that Reload has told: %s", n, got)
		}
		if !strings.HasPrefix(got, "certificate not taken up, the old one stays; ") || !strings.HasSuffix(got, "new certificate") {
			t.Errorf("log: %s", got)
		}
	})
}

func TestCertificatesRefuse(t *testing.T) {
	dir := t.TempDir()
	certFile, _ := pair(t, dir, "a.example", time.Now().Add(time.Hour))
	_, otherKey := pair(t, dir, "b.example", time.Now().Add(time.Hour))
	if _, err := edge.Certificates(certFile, otherKey); err == nil {
		t.Error("a key of another certificate was taken")
	}
	if _, err := edge.Certificates(filepath.Join(dir, "none"), otherKey); err == nil {
		t.Error("a file that is not there was taken")
	}
	if _, err := edge.New(http.NotFoundHandler(), edge.Options{TLS: new(tls.Config), Addr: "127.0.0.1:0"}); err == nil {
		t.Error("TLS without a certificate was taken")
	}
}

// http2Client speaks HTTP/2 to servers whose certificate it does not look at.
func http2Client(t *testing.T) *http.Client {
	tr := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, ForceAttemptHTTP2: true}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: time.Minute}
}
