package edge_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/foretier/foretier/router/edge"
)

// pair writes a self-signed certificate for host and returns its files.
func pair(t *testing.T, dir, host string, ends time.Time) (certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: host}, DNSNames: []string{host},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: ends}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certFile, keyFile = filepath.Join(dir, host+".crt"), filepath.Join(dir, host+".key")
	for name, block := range map[string]*pem.Block{certFile: {Type: "CERTIFICATE", Bytes: cert}, keyFile: {Type: "PRIVATE KEY", Bytes: der}} {
		if err := os.WriteFile(name, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return certFile, keyFile
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
