//go:build e2e

package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/foretier/foretier/internal/servertest"
	"github.com/foretier/foretier/internal/testkit"
)

// TestE2ECertificatesAreIssued: with -acme and -https-redirect alone the gateway has
// HTTPS, and another one of the same store has it too, without an authority.
func TestE2ECertificatesAreIssued(t *testing.T) {
	httpPort, tlsPort := servertest.FreePort(t), servertest.FreePort(t)
	authority := servertest.NewPebble(t, httpPort, tlsPort, time.Hour)
	at := func(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }
	store := "redis://" + servertest.Redis(t).Addr
	flags := []string{"-backends", visitorBackend(t, "web1"), "-acme", "shop.example", "-acme-store", store,
		"-acme-directory", authority.Directory, "-acme-ca", authority.RootFile, "-acme-email", "ops@shop.example"}
	_, log, end := startServe(t, append(flags, "-listen", at(tlsPort), "-https-redirect", at(httpPort), "-https-port", fmt.Sprint(tlsPort))...)
	roots := authority.Trust()
	get := func(addr string) (string, error) {
		tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: "shop.example"}, ForceAttemptHTTP2: true}
		defer tr.CloseIdleConnections()
		res, err := (&http.Client{Transport: tr}).Get("https://" + addr + "/page")
		if err != nil {
			return "", err
		}
		defer res.Body.Close()
		body, err := io.ReadAll(res.Body)
		return res.Status + " " + res.Proto + " " + string(body), err
	}
	wants := func(addr string) {
		t.Helper()
		var answer string
		var err error
		testkit.Within(t, time.Minute, "the shop over HTTPS", func() bool {
			answer, err = get(addr)
			return err == nil
		})
		if answer == "" || answer[:len("200 OK HTTP/2.0")] != "200 OK HTTP/2.0" {
			t.Errorf("%s", answer)
		}
	}
	wants(at(tlsPort))
	log.Wants(t, "certificate issued", "shop.example")

	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	res, err := client.Get("http://" + at(httpPort) + "/a%2Fb?c")
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if to := res.Header.Get("Location"); res.StatusCode != http.StatusPermanentRedirect || to != "https://127.0.0.1:"+fmt.Sprint(tlsPort)+"/a%2Fb?c" {
		t.Errorf("%s to %s", res.Status, to)
	}

	authority.Kill()
	other, _, _ := startServe(t, flags...)
	wants(other)
	if code := end(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	// Whoever asks for another name gets no certificate.
	conn, err := tls.Dial("tcp", other, &tls.Config{ServerName: "other.example", RootCAs: x509.NewCertPool()})
	if err == nil {
		conn.Close()
		t.Error("another name has a certificate")
	}
	if _, err := net.Dial("tcp", at(httpPort)); err == nil {
		t.Error("plain HTTP is still served")
	}
}
