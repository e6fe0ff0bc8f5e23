package servertest

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/foretier/foretier/internal/testkit"
)

// pebbleModule is Let's Encrypt's authority for tests.
const pebbleModule = "github.com/letsencrypt/pebble/v2/cmd/pebble@v2.10.3"

// A Pebble is an ACME authority of a test's own, which finds every name at this machine.
type Pebble struct {
	*Server
	Directory string         // its URL
	Roots     *x509.CertPool // of its own certificate
	RootFile  string         // the same
	manage    string         // its address for those who run it
}

// NewPebble builds and starts one that verifies names at the two ports, and whose
// certificates last as long as life.
func NewPebble(tb testing.TB, httpPort, tlsPort int, life time.Duration) *Pebble {
	tb.Helper()
	dir := tb.TempDir()
	install := exec.Command("go", "install", pebbleModule)
	install.Dir = dir // in no module
	install.Env = append(os.Environ(), "GOBIN="+dir, "GOFLAGS=")
	if out, err := install.CombinedOutput(); err != nil {
		tb.Fatalf("%s: %v\n%s", pebbleModule, err, out)
	}
	own := testkit.NewAuthority(tb)
	certFile, keyFile := testkit.Files(tb, dir, "127.0.0.1", own.Issue(tb, "127.0.0.1"))
	port, manage := FreePort(tb), FreePort(tb)
	at := func(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }
	config, err := json.Marshal(map[string]any{"pebble": map[string]any{
		"listenAddress": at(port), "managementListenAddress": at(manage),
		"certificate": certFile, "privateKey": keyFile, "httpPort": httpPort, "tlsPort": tlsPort,
		"retryAfter": map[string]int{"authz": 1, "order": 1},
		"profiles":   map[string]any{"default": map[string]any{"description": "for tests", "validityPeriod": int(life.Seconds())}},
	}})
	if err != nil {
		tb.Fatal(err)
	}
	file := filepath.Join(dir, "pebble.json")
	if err := os.WriteFile(file, config, 0o600); err != nil {
		tb.Fatal(err)
	}
	p := &Pebble{
		Directory: fmt.Sprintf("https://%s/dir", at(port)), Roots: own.Pool, RootFile: own.File(tb, filepath.Join(dir, "own.pem")),
		manage: "https://" + at(manage),
	}
	p.Server = Start(tb, port, "env", "PEBBLE_VA_NOSLEEP=1", "PEBBLE_AUTHZREUSE=0",
		filepath.Join(dir, "pebble"), "-config", file, "-dnsserver", names(tb, here))
	return p
}

// Trust returns what verifies the certificates that it has issued since it was started.
func (p *Pebble) Trust() *x509.CertPool {
	p.tb.Helper()
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: p.Roots}}}
	defer client.CloseIdleConnections()
	res, err := client.Get(p.manage + "/roots/0")
	if err != nil {
		p.tb.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	pool := x509.NewCertPool()
	if err != nil || !pool.AppendCertsFromPEM(text) {
		p.tb.Fatalf("%.100s: %v", text, err)
	}
	return pool
}

// here says of every name that it is 127.0.0.1.
func here(q dnsmessage.Question) ([]dnsmessage.ResourceBody, bool) {
	if q.Type != dnsmessage.TypeA {
		return nil, true
	}
	return []dnsmessage.ResourceBody{&dnsmessage.AResource{A: [4]byte{127, 0, 0, 1}}}, true
}
