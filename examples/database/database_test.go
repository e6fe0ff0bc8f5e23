package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/foretier/foretier/balancer/tcp"
	"github.com/foretier/foretier/health"
	"github.com/foretier/foretier/internal/servertest"
	"github.com/foretier/foretier/internal/testkit"
)

const patience = testkit.Patience

// freeAddr is where the program may listen.
func freeAddr(t *testing.T) string { return fmt.Sprintf("127.0.0.1:%d", servertest.FreePort(t)) }

// A program is the example as it runs, with what it logs.
type program struct {
	ports []string // where it listens
	log   *testkit.Log
}

// start runs the program until the test ends, on ports that the system
// chooses where args say 127.0.0.1:0.
func start(t *testing.T, args ...string) *program {
	t.Helper()
	p := &program{log: new(testkit.Log)}
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
	testkit.Within(t, patience, "the program listens", func() bool {
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
	db := testkit.Backend(t, testkit.Echo("db:"))
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
	far.log.Wants(t, "connection refused", "client didn't provide a certificate")
}

// TestTunnelTellsTheClient has the near end of a tunnel announce its clients to
// the far end, and the probes of the one be no trouble to the other.
func TestTunnelTellsTheClient(t *testing.T) {
	dir := t.TempDir()
	ca, farCert, farKey, nearCert, nearKey := certificates(t, dir)
	db := testkit.Backend(t, testkit.Echo(""))
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
	authority := testkit.NewAuthority(t)
	ca = authority.File(t, filepath.Join(dir, "ca.pem"))
	farCert, farKey = testkit.Files(t, dir, "far", authority.Issue(t, "127.0.0.1"))
	nearCert, nearKey = testkit.Files(t, dir, "near", authority.Issue(t, "127.0.0.1"))
	return ca, farCert, farKey, nearCert, nearKey
}

// TestProxyHeaders has one program announce its clients to another, and others
// send garbage.
func TestProxyHeaders(t *testing.T) {
	db := testkit.Backend(t, testkit.Echo(""))
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
	inner.log.Wants(t, "connection refused", "PROXY header")

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
	db := testkit.Backend(t, testkit.Echo(""))
	for name, flags := range map[string][]string{"PROXY": {"-proxy-from", "127.0.0.1"}, "TLS": {"-tls", "-cert", cert, "-key", key}} {
		p := start(t, append(flags, "-kind", "tcp", "-listen", "127.0.0.1:0", "-backends", "tcp://"+db)...)
		began := time.Now()
		for range 100 {
			testkit.Dial(t, p.ports[0]).Close()
		}
		p.log.Wants(t, "connection refused", name)
		if n := strings.Count(p.log.String(), "connection refused"); n > 6+int(time.Since(began)/time.Second) {
			t.Errorf("%s: %d lines of 100 who connected and left", name, n)
		}
	}
}

// TestRefusals holds that a client reads in its own protocol why it is not
// served.
func TestRefusals(t *testing.T) {
	nobody := "tcp://" + testkit.Nobody(t)
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
	maria.log.Wants(t, "connection refused", "no backend available", "level=WARN")
}
