package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/foretier/foretier/balancer/tcp"
	"github.com/foretier/foretier/health"
)

const patience = 20 * time.Second

// A program is the example as it runs, with what it logs.
type program struct {
	ports []string // where it listens
	log   *output
}

type output struct {
	mu sync.Mutex
	b  strings.Builder
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

// start runs the program until the test ends, on ports that the system
// chooses where args say 127.0.0.1:0.
func start(t *testing.T, args ...string) *program {
	t.Helper()
	p := &program{log: new(output)}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan int, 1)
	go func() { done <- run(ctx, args, io.Discard, p.log) }()
	t.Cleanup(func() {
		cancel()
		if code := <-done; code != 0 {
			t.Errorf("the program ended with %d", code)
		}
		if t.Failed() {
			t.Logf("its log:\n%s", p.log)
		}
	})
	want := 1
	for _, a := range args {
		if a == "-replicas-listen" {
			want++
		}
	}
	within(t, patience, "the program listens", func() bool {
		p.ports = nil
		for line := range strings.Lines(p.log.String()) {
			if _, addr, ok := strings.Cut(strings.TrimSpace(line), "address="); ok {
				p.ports = append(p.ports, addr)
			}
		}
		return len(p.ports) == want
	})
	return p
}

func (p *program) says(t *testing.T, words ...string) {
	t.Helper()
	within(t, patience, fmt.Sprintf("the log says %q", words), func() bool {
	line:
		for line := range strings.Lines(p.log.String()) {
			for _, w := range words {
				if !strings.Contains(line, w) {
					continue line
				}
			}
			return true
		}
		return false
	})
}

// within waits for what another process or goroutine does.
func within(t *testing.T, limit time.Duration, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(limit); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("not within %v: %s", limit, what)
}

// greeter accepts connections, says its name, and sends back what it is sent.
func greeter(t *testing.T, name string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var conns sync.WaitGroup
	t.Cleanup(conns.Wait)
	t.Cleanup(func() { l.Close() })
	conns.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			conns.Go(func() {
				defer c.Close()
				_ = c.SetDeadline(time.Now().Add(patience))
				_, _ = io.WriteString(c, name)
				_, _ = io.Copy(c, c)
			})
		}
	})
	return l.Addr().String()
}

// ask sends text, ends its half, and returns all that comes.
func ask(t *testing.T, addr, text string) (string, error) {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return "", err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(c, text); err != nil {
		return "", err
	}
	if err := c.(*net.TCPConn).CloseWrite(); err != nil {
		return "", err
	}
	got, err := io.ReadAll(c)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("left hanging")
	}
	return string(got), err
}

// TestTunnel has two programs carry a plain protocol through TLS, each with a
// certificate of the same authority.
func TestTunnel(t *testing.T) {
	dir := t.TempDir()
	ca, farCert, farKey, nearCert, nearKey := certificates(t, dir)
	db := greeter(t, "db:")
	far := start(t, "-kind", "tcp", "-listen", "127.0.0.1:0", "-backends", "tcp://"+db, "-tls", "-cert", farCert, "-key", farKey, "-ca", ca)
	near := start(t, "-kind", "tcp", "-listen", "127.0.0.1:0", "-backends", "tls://"+far.ports[0], "-cert", nearCert, "-key", nearKey, "-ca", ca)
	if got, err := ask(t, near.ports[0], "hello"); got != "db:hello" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
	if got, _ := ask(t, far.ports[0], "hello"); got != "" {
		t.Errorf("without TLS: %q", got)
	}
	stranger := start(t, "-kind", "tcp", "-listen", "127.0.0.1:0", "-backends", "tls://"+far.ports[0], "-ca", ca)
	if got, _ := ask(t, stranger.ports[0], "hello"); got != "" {
		t.Errorf("without a certificate: %q", got)
	}
	far.says(t, "connection refused", "client didn't provide a certificate")
}

// TestTunnelTellsTheClient has the near end of a tunnel announce its clients to
// the far end, and the probes of the one be no trouble to the other.
func TestTunnelTellsTheClient(t *testing.T) {
	dir := t.TempDir()
	ca, farCert, farKey, nearCert, nearKey := certificates(t, dir)
	db := greeter(t, "")
	far := start(t, "-kind", "tcp", "-listen", "127.0.0.1:0", "-backends", "tcp://"+db, "-announce", "v1",
		"-tls", "-cert", farCert, "-key", farKey, "-ca", ca, "-proxy-from", "127.0.0.1")
	for _, version := range []string{"v1", "v2"} {
		near := start(t, "-kind", "tcp", "-listen", "127.0.0.1:0", "-backends", "tls://"+far.ports[0], "-cert", nearCert, "-key", nearKey, "-ca", ca,
			"-announce", version)
		got, err := ask(t, near.ports[0], "hello")
		host, port, _ := net.SplitHostPort(near.ports[0])
		if err != nil || !strings.HasPrefix(got, "PROXY TCP4 127.0.0.1 "+host+" ") || !strings.HasSuffix(got, " "+port+"\r\nhello") {
			t.Errorf("%s: the server saw %q, %v", version, got, err)
		}
	}
	if told := far.log.String(); strings.Contains(told, "PROXY header") {
		t.Errorf("the far end complains:\n%s", told)
	}
}

// certificates writes an authority and two certificates that it has signed.
func certificates(t *testing.T, dir string) (ca, farCert, farKey, nearCert, nearKey string) {
	t.Helper()
	save := func(name, kind string, der []byte) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	issue := func(tmpl, parent *x509.Certificate, signer *ecdsa.PrivateKey) ([]byte, *ecdsa.PrivateKey) {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		if signer == nil {
			signer = key
		}
		der, err := x509.CreateCertificate(rand.Reader, tmpl, parent, &key.PublicKey, signer)
		if err != nil {
			t.Fatal(err)
		}
		return der, key
	}
	root := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "ca"}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, signer := issue(root, root, nil)
	ca = save("ca.pem", "CERTIFICATE", der)
	leaf := func(name string) (cert, key string) {
		der, k := issue(&x509.Certificate{
			SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, NotAfter: time.Now().Add(time.Hour),
			IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		}, root, signer)
		private, err := x509.MarshalPKCS8PrivateKey(k)
		if err != nil {
			t.Fatal(err)
		}
		return save(name+".pem", "CERTIFICATE", der), save(name+".key", "PRIVATE KEY", private)
	}
	farCert, farKey = leaf("far")
	nearCert, nearKey = leaf("near")
	return ca, farCert, farKey, nearCert, nearKey
}

// TestProxyHeaders has one program announce its clients to another, and others
// send garbage.
func TestProxyHeaders(t *testing.T) {
	db := greeter(t, "")
	// What the last one announces comes back from the server, as it is sent.
	inner := start(t, "-kind", "tcp", "-listen", "127.0.0.1:0", "-backends", "tcp://"+db, "-proxy-from", "127.0.0.1", "-announce", "v1")
	for _, version := range []string{"v1", "v2"} {
		outer := start(t, "-kind", "tcp", "-listen", "127.0.0.1:0", "-backends", "tcp://"+inner.ports[0], "-announce", version)
		got, err := ask(t, outer.ports[0], "hello")
		host, port, _ := net.SplitHostPort(outer.ports[0])
		if err != nil || !strings.HasPrefix(got, "PROXY TCP4 127.0.0.1 "+host+" ") || !strings.HasSuffix(got, " "+port+"\r\nhello") {
			t.Errorf("%s: the server saw %q, %v", version, got, err)
		}
	}
	if got, err := ask(t, inner.ports[0], "PROXY TCP4 192.0.2.1 192.0.2.2 4000 3306\r\nhello"); err != nil || got != "PROXY TCP4 192.0.2.1 192.0.2.2 4000 3306\r\nhello" {
		t.Errorf("the server saw %q, %v", got, err)
	}
	for _, garbage := range []string{
		"hello", "PROXY\r\n", "PROXY TCP4 nonsense\r\n", "PROXY TCP4 192.0.2.1 192.0.2.2 99999 1\r\n",
		"PROXY " + strings.Repeat("x", 200), "\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x04abcd", "",
	} {
		if got, _ := ask(t, inner.ports[0], garbage); got != "" {
			t.Errorf("after %q: %q", garbage, got)
		}
	}
	inner.says(t, "connection refused", "PROXY header")

	// From others it is no header, but bytes like all others.
	strict := start(t, "-kind", "tcp", "-listen", "127.0.0.1:0", "-backends", "tcp://"+db, "-proxy-from", "10.0.0.0/8")
	if got, err := ask(t, strict.ports[0], "PROXY TCP4 192.0.2.1 192.0.2.2 4000 3306\r\n"); err != nil || !strings.HasPrefix(got, "PROXY TCP4 192.0.2.1") {
		t.Errorf("from somebody else: %q, %v", got, err)
	}
}

// TestStrangersWriteFewLines holds that whoever connects and leaves cannot fill
// a disk with what is logged of it.
func TestStrangersWriteFewLines(t *testing.T) {
	dir := t.TempDir()
	_, cert, key, _, _ := certificates(t, dir)
	db := greeter(t, "")
	for name, flags := range map[string][]string{"PROXY": {"-proxy-from", "127.0.0.1"}, "TLS": {"-tls", "-cert", cert, "-key", key}} {
		p := start(t, append(flags, "-kind", "tcp", "-listen", "127.0.0.1:0", "-backends", "tcp://"+db)...)
		began := time.Now()
		for range 100 {
			c, err := net.Dial("tcp", p.ports[0])
			if err != nil {
				t.Fatal(err)
			}
			c.Close()
		}
		p.says(t, "connection refused", name)
		if n := strings.Count(p.log.String(), "connection refused"); n > 6+int(time.Since(began)/time.Second) {
			t.Errorf("%s: %d lines of 100 who connected and left", name, n)
		}
	}
}

// TestRefusals holds that a client reads in its own protocol why it is not
// served.
func TestRefusals(t *testing.T) {
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone.Close()
	nobody := "tcp://" + gone.Addr().String()
	redis := start(t, "-kind", "redis", "-listen", "127.0.0.1:0", "-backends", nobody)
	if got, err := ask(t, redis.ports[0], ""); err != nil || !strings.HasPrefix(got, "-ERR balancer: no backend available") {
		t.Errorf("Redis: %q, %v", got, err)
	}
	maria := start(t, "-kind", "mysql", "-user", "probe", "-listen", "127.0.0.1:0", "-replicas-listen", "127.0.0.1:0", "-backends", nobody)
	for _, port := range maria.ports {
		db, err := config{user: "shop"}.open(health.Target{URL: &url.URL{Scheme: "tcp", Host: port}})
		if err != nil {
			t.Fatal(err)
		}
		var told *mysql.MySQLError
		if err := db.Ping(); !errors.As(err, &told) || told.Number != 1105 || !strings.HasPrefix(told.Message, "balancer: no backend available") {
			t.Errorf("MySQL: %v", err)
		}
		db.Close()
	}
	if got := refuseMySQL(tcp.ErrBusy); got[5] != 0x10 || got[6] != 0x04 {
		t.Errorf("too many connections: % x", got)
	}
	maria.says(t, "connection refused", "no backend available", "level=WARN")
}
