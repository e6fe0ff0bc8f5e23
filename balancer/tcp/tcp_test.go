package tcp

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/foretier/foretier/balancer/internal/relay"
	"github.com/foretier/foretier/health"
	"github.com/foretier/foretier/internal/testkit"
)

// patience bounds what must come soon, on a machine that may be slow.
const patience = testkit.Patience

// newPool returns a pool that ends with the test.
func newPool(t testing.TB, list []Backend, opts Options) *Pool {
	t.Helper()
	p, err := New(list, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	return p
}

// A carries is a pool or an excerpt.
type carries interface {
	Serve(context.Context, net.Listener) error
}

// carry serves TCP by the pool on a listener of its own, until the test ends.
func carry(t testing.TB, p carries, wrap func(net.Listener) net.Listener) string {
	t.Helper()
	l := testkit.Listen(t)
	addr := l.Addr().String()
	if wrap != nil {
		l = wrap(l)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- p.Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil && !errors.Is(err, ErrClosed) {
			t.Errorf("Serve: %v", err)
		}
	})
	return addr
}

func TestServePassesTheEndOfEachHalfOn(t *testing.T) {
	// The backend answers only once the client's half has ended, and goes on
	// after it.
	addr := testkit.Backend(t, func(c net.Conn) {
		all, err := io.ReadAll(c)
		if err == nil {
			fmt.Fprintf(c, "%d bytes", len(all))
		}
	})
	front := carry(t, newPool(t, Backends("tcp://"+addr), Options{}), nil)
	c := testkit.Dial(t, front)
	if _, err := c.Write(make([]byte, 1<<20)); err != nil {
		t.Fatal(err)
	}
	if err := c.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(c)
	if string(got) != "1048576 bytes" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestServeTriesAnotherBackend(t *testing.T) {
	gone := testkit.Listen(t)
	gone.Close()
	addr := testkit.Backend(t, testkit.Echo("b"))
	p := newPool(t, Backends("tcp://"+gone.Addr().String(), "tcp://"+addr), Options{Policy: Policy{foremost{}}})
	front := carry(t, p, nil)
	for range 3 {
		c := testkit.Dial(t, front)
		got := make([]byte, 1)
		if _, err := io.ReadFull(c, got); err != nil || string(got) != "b" {
			t.Fatalf("got %q, %v", got, err)
		}
		c.Close()
	}
	s := p.Backends()[0]
	if s.State != health.Down || s.Conns != 2 {
		t.Errorf("after three clients the refusing one is %v with %d attempts, want down with 2", s.State, s.Conns)
	}
}

// TestHangingUpAtOnceIsNotIdle holds that a backend that accepts connections and
// ends them does not look like the one with the least to do.
func TestHangingUpAtOnceIsNotIdle(t *testing.T) {
	bad := map[string]func(net.Conn){
		"closes": func(net.Conn) {},
		"resets": func(c net.Conn) { relay.Abort(c) },
		"says that it is full": func(c net.Conn) {
			_, _ = io.WriteString(c, "ERR too many connections")
		},
		"says so without a look at what was said": func(c net.Conn) {
			_, _ = io.WriteString(c, "ERR too many connections")
			_, _ = io.CopyN(io.Discard, c, 1)
		},
	}
	for name, f := range bad {
		for _, by := range []string{"Serve", "DialContext"} {
			t.Run(name+"/"+by, func(t *testing.T) {
				var hits atomic.Int32
				full := testkit.Backend(t, func(c net.Conn) { hits.Add(1); f(c) })
				well := testkit.Backend(t, testkit.Echo("b"))
				p := newPool(t, Backends("tcp://"+full, "tcp://"+well), Options{Policy: LeastInFlight()})
				front := carry(t, p, nil)
				asks := strings.Contains(name, "what was said")
				if asks && by == "DialContext" {
					t.Skip("a reset is seen by whoever reads on")
				}
				for range 60 {
					var c net.Conn
					var err error
					if by == "Serve" {
						if c, err = net.Dial("tcp", front); errors.Is(err, syscall.ECONNRESET) {
							continue
						}
					} else {
						c, err = p.DialContext(context.Background(), "", "")
					}
					if err != nil {
						t.Fatal(err)
					}
					_ = c.SetDeadline(time.Now().Add(patience))
					if asks {
						_, _ = io.WriteString(c, "AUTH me\r\n")
					}
					first := make([]byte, 64)
					n, err := c.Read(first)
					if err != nil || first[0] != 'b' { // a client that is not served leaves
						if n > 0 {
							_, _ = io.Copy(io.Discard, c)
						}
						c.Close()
						continue
					}
					defer c.Close()
				}
				if n := hits.Load(); n == 0 || n > 6 {
					t.Errorf("%d of 60 clients came to the one that hangs up", n)
				}
			})
		}
	}
}

// TestHTTPProbeOfConnections has a pool for connections whose servers tell by
// HTTP, on a port of their own, how they are.
func TestHTTPProbeOfConnections(t *testing.T) {
	var primary atomic.Int32
	checks := make([]net.Listener, 2)
	var list []string
	for i, host := range []string{"127.0.0.2", "127.0.0.3"} {
		l, err := net.Listen("tcp", host+":0")
		if err != nil {
			t.Skipf("no second loopback address: %v", err)
		}
		list = append(list, "tcp://"+testkit.Accept(t, l, testkit.Echo(string(rune('a'+i)))))
		addr := host + ":0"
		if i > 0 {
			_, port, _ := net.SplitHostPort(checks[0].Addr().String())
			addr = net.JoinHostPort(host, port)
		}
		if checks[i], err = net.Listen("tcp", addr); err != nil {
			t.Fatal(err)
		}
		srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			if int(primary.Load()) != i {
				w.WriteHeader(http.StatusServiceUnavailable)
			}
		})}
		go srv.Serve(checks[i])
		t.Cleanup(func() { srv.Close() })
	}
	p := newPool(t, Backends(list...), Options{
		Probe:    &health.HTTPProbe{Path: "/primary", Port: checks[0].Addr().(*net.TCPAddr).Port},
		Schedule: health.Schedule{Every: 5 * time.Millisecond, Changing: 5 * time.Millisecond},
		Announce: ProxyV1,
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	defer func() { cancel(); <-done }()
	if err := p.WaitReady(context.Background()); err != nil {
		t.Fatal(err)
	}
	wants(t, p, "a")
	// The other has never passed, and is not the one all the same.
	for end := time.Now().Add(patience); p.Backends()[1].State != health.Down; runtime.Gosched() {
		if time.Now().After(end) {
			t.Fatalf("got %+v", p.Backends())
		}
	}
	primary.Store(1)
	for end := time.Now().Add(patience); p.Backends()[0].State != health.Down || p.Backends()[1].State != health.Up; runtime.Gosched() {
		if time.Now().After(end) {
			t.Fatalf("got %+v", p.Backends())
		}
	}
	for range 10 {
		wants(t, p, "b")
	}
	if _, err := New(nil, Options{Probe: health.HTTP("/%zz")}); err == nil {
		t.Error("a probe that can never succeed is accepted")
	}
}

// TestStrangersWriteFewLines holds that whoever connects and leaves, or breaks
// off, cannot fill a disk with what is logged of it.
func TestStrangersWriteFewLines(t *testing.T) {
	strangers := map[string]func(*net.TCPConn){
		"leave":  func(c *net.TCPConn) { c.Close() },
		"reset":  func(c *net.TCPConn) { relay.Abort(c) },
		"babble": func(c *net.TCPConn) { _, _ = io.WriteString(c, "hello\r\n"); c.Close() },
		"have the backend reset": func(c *net.TCPConn) {
			_, _ = io.WriteString(c, "!")
			_, _ = io.Copy(io.Discard, c)
		},
	}
	config := &tls.Config{Certificates: []tls.Certificate{testkit.NewAuthority(t).Issue(t, "127.0.0.1")}}
	fronts := map[string]func(net.Listener) net.Listener{
		"plain": nil,
		"TLS":   func(l net.Listener) net.Listener { return tls.NewListener(l, config) },
	}
	for name, do := range strangers {
		for kind, wrap := range fronts {
			t.Run(name+"/"+kind, func(t *testing.T) {
				if wrap != nil && strings.Contains(name, "backend") {
					t.Skip("a backend sees nobody who does not speak TLS")
				}
				var log testkit.Log
				b := testkit.Backend(t, func(c net.Conn) {
					first := make([]byte, 1)
					if _, err := io.ReadFull(c, first); err == nil && first[0] == '!' {
						relay.Abort(c)
					}
				})
				p := newPool(t, Backends("tcp://"+b), Options{Logger: slog.New(slog.NewTextHandler(&log, nil)), Outlier: health.Outlier{Consecutive: -1, MinSuccess: -1}})
				front := carry(t, p, wrap)
				began := time.Now()
				for range 100 {
					c, err := net.Dial("tcp", front)
					if err != nil {
						t.Fatal(err)
					}
					_ = c.SetDeadline(time.Now().Add(patience))
					do(c.(*net.TCPConn))
					c.Close()
				}
				for p.conns.Load() > 0 {
					runtime.Gosched()
				}
				allowed := 3*fewLines + 4*int(time.Since(began)/time.Second)
				if n := strings.Count(log.String(), "\n"); n > allowed {
					t.Errorf("%d lines of 100 strangers, want at most %d:\n%.2000s", n, allowed, log.String())
				}
			})
		}
	}
}

// TestShortConnectionsAreNoFailure has a protocol in which the server speaks and
// hangs up: all do alike, so that none is worse.
func TestShortConnectionsAreNoFailure(t *testing.T) {
	var hits [2]atomic.Int32
	var list []string
	for i := range hits {
		list = append(list, "tcp://"+testkit.Backend(t, func(c net.Conn) {
			hits[i].Add(1)
			_, _ = io.WriteString(c, "12:00:00\r\n")
		}))
	}
	p := newPool(t, Backends(list...), Options{Policy: RoundRobin()})
	front := carry(t, p, nil)
	for range 60 {
		if got, err := io.ReadAll(testkit.Dial(t, front)); string(got) != "12:00:00\r\n" || err != nil {
			t.Fatalf("got %q, %v", got, err)
		}
	}
	for i, s := range p.Backends() {
		if s.State != health.Up || hits[i].Load() < 15 {
			t.Errorf("%s is %v (%s) after %d connections", s.Name, s.State, s.Why, hits[i].Load())
		}
	}
}

// TestServeBadBackends holds that a client is never left hanging, and the
// log says why.
func TestServeBadBackends(t *testing.T) {
	refusing := testkit.Listen(t)
	refusing.Close()
	silent := testkit.Backend(t, func(c net.Conn) { _, _ = io.Copy(io.Discard, c) })
	resets := testkit.Backend(t, func(c net.Conn) {
		_, _ = io.CopyN(c, strings.NewReader("half"), 4)
		_, _ = io.ReadFull(c, make([]byte, 1)) // until the client has it
		relay.Abort(c)
	})
	own, other := testkit.NewAuthority(t), testkit.NewAuthority(t)
	wrong := testkit.Accept(t, tls.NewListener(testkit.Listen(t), &tls.Config{Certificates: []tls.Certificate{other.Issue(t, "127.0.0.1")}}), testkit.Echo("x"))
	cases := []struct {
		name, url string
		log       []string
	}{
		{"refuses", "tcp://" + refusing.Addr().String(), []string{"connection refused", "level=WARN", refusing.Addr().String()}},
		{"hangs in the handshake", "tls://" + silent, []string{"connection refused", "level=WARN", "TLS handshake", "deadline"}},
		{"wrong certificate", "tls://" + wrong, []string{"connection refused", "level=WARN", "certificate"}},
		{"resets in the middle", "tcp://" + resets, []string{"connection broke", "level=WARN", "the backend's side", "reset"}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			var log testkit.Log
			p := newPool(t, Backends(c.url), Options{
				Logger: log.Logger(), Dial: 300 * time.Millisecond,
				TLS: &tls.Config{RootCAs: own.Pool},
			})
			conn, err := net.Dial("tcp", carry(t, p, nil))
			if err == nil { // else it was reset at once
				defer conn.Close()
				_ = conn.SetDeadline(time.Now().Add(patience))
				_, err = io.Copy(conn, conn)
			}
			if err == nil {
				t.Error("the connection ended as if all were well")
			}
			if errors.Is(err, os.ErrDeadlineExceeded) {
				t.Error("the client was left hanging")
			}
			log.Wants(t, c.log...)
		})
	}
}

func TestServeRefusesBeyondItsLimit(t *testing.T) {
	var log testkit.Log
	addr := testkit.Backend(t, testkit.Echo("b"))
	p := newPool(t, Backends("tcp://"+addr), Options{
		Logger: log.Logger(), Conns: 1, Refusal: func(err error) []byte { return []byte("-ERR " + err.Error() + "\r\n") },
	})
	front := carry(t, p, nil)
	first := testkit.Dial(t, front)
	if _, err := io.ReadFull(first, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(testkit.Dial(t, front))
	if want := "-ERR balancer: all backends are busy: 1 connections are open, as many as may be\r\n"; string(got) != want || err != nil {
		t.Errorf("got %q, %v, want %q", got, err, want)
	}
	log.Wants(t, "connection refused", "as many as may be")
	// The one who was there is not disturbed, and makes room.
	if err := first.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(first); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(patience); p.conns.Load() > 0 && time.Now().Before(end); runtime.Gosched() {
	}
	if _, err := io.ReadFull(testkit.Dial(t, front), make([]byte, 1)); err != nil {
		t.Errorf("after the first has gone: %v", err)
	}
}

// TestServeDoesNotGreetInPassing holds that a client beyond the limit, with
// whom a handshake is due, is not waited for by those who come after it.
func TestServeDoesNotGreetInPassing(t *testing.T) {
	addr := testkit.Backend(t, testkit.Echo("b"))
	p := newPool(t, Backends("tcp://"+addr), Options{Conns: 1, Refusal: func(error) []byte { return []byte("no") }})
	front := carry(t, p, func(l net.Listener) net.Listener { return slowGreeters{l, t} })
	first := testkit.Dial(t, front)
	if _, err := io.ReadFull(first, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	// It may be reset before it is connected.
	if c, err := net.Dial("tcp", front); err == nil {
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(patience))
		if n, err := c.Read(make([]byte, 1)); n > 0 || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("read %d bytes, %v", n, err)
		}
	}
}

// slowGreeters accepts connections that must not be written to before they
// are greeted.
type slowGreeters struct {
	net.Listener
	t *testing.T
}

func (l slowGreeters) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &slowGreeter{Conn: c, t: l.t}, nil
}

type slowGreeter struct {
	net.Conn
	t       *testing.T
	greeted atomic.Bool
}

func (c *slowGreeter) HandshakeContext(context.Context) error {
	c.greeted.Store(true)
	return nil
}

func (c *slowGreeter) Write(b []byte) (int, error) {
	if !c.greeted.Load() {
		c.t.Errorf("%q is written before the handshake", b)
	}
	return c.Conn.Write(b)
}

// TestServeDoesNotTouchTheBytes counts what the whole process reads: the
// client's and the backend's reads are its own, and a proxy that copies would
// add as much again.
func TestServeDoesNotTouchTheBytes(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("splice is Linux's")
	}
	const size = 64 << 20
	addr := testkit.Backend(t, func(c net.Conn) {
		buf := make([]byte, 1<<20)
		for range size / len(buf) {
			if _, err := c.Write(buf); err != nil {
				return
			}
		}
	})
	front := carry(t, newPool(t, Backends("tcp://"+addr), Options{}), nil)
	before := readByProcess(t)
	c := testkit.Dial(t, front)
	buf := make([]byte, 1<<20)
	total := 0
	for {
		n, err := c.Read(buf)
		total += n
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	read := readByProcess(t) - before
	if total != size || read > size*3/2 {
		t.Errorf("%d MiB arrived, and the process read %d MiB: want no more than the client's own", total>>20, read>>20)
	}
}

func readByProcess(t *testing.T) (n int) {
	t.Helper()
	b, err := os.ReadFile("/proc/self/io")
	if err != nil {
		t.Skipf("the kernel does not tell: %v", err)
	}
	if _, err := fmt.Sscanf(string(b), "rchar: %d", &n); err != nil {
		t.Fatal(err)
	}
	return n
}

// TestTunnel has two pools carry plain TCP through TLS, each showing a
// certificate to the other.
func TestTunnel(t *testing.T) {
	ca := testkit.NewAuthority(t)
	near, far := ca.Issue(t, "near"), ca.Issue(t, "127.0.0.1")
	addr := testkit.Backend(t, testkit.Echo("db"))
	exit := carry(t, newPool(t, Backends("tcp://"+addr), Options{}), func(l net.Listener) net.Listener {
		return tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{far}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: ca.Pool})
	})
	cases := []struct {
		name string
		conf *tls.Config
		ok   bool
	}{
		{"both certificates", &tls.Config{RootCAs: ca.Pool, Certificates: []tls.Certificate{near}}, true},
		{"no client certificate", &tls.Config{RootCAs: ca.Pool}, false},
		{"another's client certificate", &tls.Config{RootCAs: ca.Pool, Certificates: []tls.Certificate{testkit.NewAuthority(t).Issue(t, "near")}}, false},
		{"another's server", &tls.Config{RootCAs: testkit.NewAuthority(t).Pool, Certificates: []tls.Certificate{near}}, false},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			p := newPool(t, Backends("tls://"+exit), Options{TLS: c.conf})
			conn, err := net.Dial("tcp", carry(t, p, nil))
			if err != nil {
				if c.ok {
					t.Fatal(err)
				}
				return // reset at once
			}
			defer conn.Close()
			_ = conn.SetDeadline(time.Now().Add(patience))
			_, _ = io.WriteString(conn, "hello")
			_ = relay.CloseWrite(conn)
			got, err := io.ReadAll(conn)
			if want := "dbhello"; c.ok && (string(got) != want || err != nil) {
				t.Errorf("got %q, %v, want %q", got, err, want)
			}
			if !c.ok && (len(got) > 0 || errors.Is(err, os.ErrDeadlineExceeded)) {
				t.Errorf("got %q, %v, want a closed connection", got, err)
			}
		})
	}
}

// TestServeClientHangsInTheHandshake has clients that never say hello, and
// one that talks garbage.
func TestServeClientHangsInTheHandshake(t *testing.T) {
	var log testkit.Log
	cert := testkit.NewAuthority(t).Issue(t, "127.0.0.1")
	dialed := make(chan struct{}, 10)
	addr := testkit.Backend(t, func(net.Conn) { dialed <- struct{}{} })
	p := newPool(t, Backends("tcp://"+addr), Options{Logger: log.Logger(), Handshake: 50 * time.Millisecond})
	front := carry(t, p, func(l net.Listener) net.Listener {
		return tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{cert}})
	})
	if _, err := io.Copy(io.Discard, testkit.Dial(t, front)); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("left hanging")
	}
	log.Wants(t, "connection refused", "TLS handshake", "deadline exceeded")
	c := testkit.Dial(t, front)
	_, _ = io.WriteString(c, "GET / HTTP/1.1\r\n\r\n")
	if _, err := io.ReadAll(c); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("garbage left hanging")
	}
	log.Wants(t, "connection refused", "does not look like a TLS handshake")
	if len(dialed) > 0 {
		t.Error("a backend was bothered")
	}
}

func TestDefaults(t *testing.T) {
	got, err := Options{}.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	if got.Conns != 0 || got.Idle != 0 || got.HalfOpen != 30*time.Second || got.KeepAlive != 30*time.Second ||
		got.Handshake != 10*time.Second || got.Drain != 10*time.Second || got.Announce != 0 || got.Refusal != nil {
		t.Errorf("got %+v", got)
	}
	if got.Limits != (Limits{Queue: 128, Wait: 5 * time.Second}) || got.Dial != time.Second || got.Name != "pool" || got.Memory != "" {
		t.Errorf("got %+v", got)
	}
	d := newDialer(got)
	if k := d.KeepAliveConfig; !k.Enable || k.Idle != 30*time.Second {
		t.Errorf("keepalive: got %+v", k)
	}
	for _, bad := range []Options{{Conns: -1}, {Idle: -1}, {Handshake: -1}, {Announce: 3}, {Limits: Limits{Wait: time.Second}}, {Limits: Limits{InFlight: -1}}} {
		if _, err := New(nil, bad); err == nil {
			t.Errorf("%+v is taken", bad)
		}
	}
}

func TestBackends(t *testing.T) {
	cases := []struct{ url, want string }{
		{"tcp://db", "want a host and a port"},
		{"tls://db", "want a host and a port"},
		{"tcp://db:3306/shop", "want a host and a port"},
		{"udp://db:3306", "tcp:// or tls://"},
	}
	for _, c := range cases {
		if _, err := New(Backends(c.url), Options{}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", c.url, err, c.want)
		}
	}
	p := newPool(t, Backends("tcp://db:3306", "tls://db2:3306"), Options{})
	if got := p.Backends()[1].Name; got != "db2:3306" {
		t.Errorf("named %q", got)
	}
}

// TestKernelTellsMovement holds what idleness is judged by.
func TestKernelTellsMovement(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux is asked")
	}
	addr := testkit.Backend(t, testkit.Echo("b"))
	c := testkit.Dial(t, addr)
	if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	before, ok := relay.Moved(c)
	if _, err := io.WriteString(c, "hello"); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(c, make([]byte, 5)); err != nil {
		t.Fatal(err)
	}
	after, _ := relay.Moved(c)
	if !ok || after < before+10 {
		t.Errorf("from %d to %d (%t) by ten bytes", before, after, ok)
	}
	if relay.Dead(c) {
		t.Error("a living connection is dead")
	}
}

func TestServeEnds(t *testing.T) {
	addr := testkit.Backend(t, testkit.Echo("b"))
	p := newPool(t, Backends("tcp://"+addr), Options{Drain: -1})
	l := testkit.Listen(t)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- p.Serve(ctx, l) }()
	c := testkit.Dial(t, l.Addr().String())
	if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("at the end of its context: %v", err)
	}
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the client read %v, want a reset", err)
	}

	l = testkit.Listen(t)
	go func() { done <- p.Serve(context.Background(), l) }()
	p.Close()
	if err := <-done; !errors.Is(err, ErrClosed) {
		t.Errorf("of a closed pool: %v", err)
	}
	l = testkit.Listen(t)
	l.Close()
	p = newPool(t, nil, Options{})
	if err := p.Serve(context.Background(), l); !errors.Is(err, net.ErrClosed) {
		t.Errorf("of a closed listener: %v", err)
	}
	if _, err := p.DialContext(context.Background(), "tcp", ""); !errors.Is(err, ErrNoBackend) {
		t.Errorf("without a backend: %v", err)
	}
}

func TestProxyProtocolIsSent(t *testing.T) {
	for _, v := range []ProxyProtocol{ProxyV1, ProxyV2} {
		heads := make(chan []byte, 1)
		addr := testkit.Backend(t, func(c net.Conn) {
			r := bufio.NewReader(c)
			if v == ProxyV1 {
				line, _ := r.ReadBytes('\n')
				heads <- line
			} else {
				head := make([]byte, 28)
				_, _ = io.ReadFull(r, head)
				heads <- head
			}
			_, _ = io.Copy(c, r)
		})
		p := newPool(t, Backends("tcp://"+addr), Options{Announce: v})
		c := testkit.Dial(t, carry(t, p, nil))
		_, _ = io.WriteString(c, "hello")
		_ = c.CloseWrite()
		if got, err := io.ReadAll(c); string(got) != "hello" || err != nil {
			t.Errorf("version %d: %q, %v", v, got, err)
		}
		from, to := c.LocalAddr().(*net.TCPAddr), c.RemoteAddr().(*net.TCPAddr)
		want := fmt.Sprintf("PROXY TCP4 127.0.0.1 127.0.0.1 %d %d\r\n", from.Port, to.Port)
		if v == ProxyV2 {
			want = proxySignature + "\x21\x11\x00\x0c\x7f\x00\x00\x01\x7f\x00\x00\x01" +
				string([]byte{byte(from.Port >> 8), byte(from.Port), byte(to.Port >> 8), byte(to.Port)})
		}
		if got := <-heads; string(got) != want {
			t.Errorf("version %d: got %q, want %q", v, got, want)
		}
	}
}

// fakeConn is a connection of which only the addresses matter.
type fakeConn struct {
	net.Conn
	from, to net.Addr
}

func (c fakeConn) RemoteAddr() net.Addr { return c.from }
func (c fakeConn) LocalAddr() net.Addr  { return c.to }

func TestProxyProtocolHeader(t *testing.T) {
	four := &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 4000}
	six := &net.TCPAddr{IP: net.ParseIP("2001:db8::1"), Port: 6000, Zone: "eth0"}
	unix := &net.UnixAddr{Name: "/run/x"}
	cases := []struct {
		name     string
		client   net.Conn
		v1       string
		v2, fam  byte
		v2length int
	}{
		{"nobody", nil, "PROXY UNKNOWN\r\n", 0x20, 0, 16},
		{"no TCP", fakeConn{from: unix, to: unix}, "PROXY UNKNOWN\r\n", 0x20, 0, 16},
		{"v4", fakeConn{from: four, to: four}, "PROXY TCP4 192.0.2.1 192.0.2.1 4000 4000\r\n", 0x21, 0x11, 28},
		{"v6", fakeConn{from: six, to: six}, "PROXY TCP6 2001:db8::1 2001:db8::1 6000 6000\r\n", 0x21, 0x21, 52},
		{"mixed", fakeConn{from: four, to: six}, "PROXY TCP6 ::ffff:192.0.2.1 2001:db8::1 4000 6000\r\n", 0x21, 0x21, 52},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if got := string(ProxyV1.header(c.client)); got != c.v1 {
				t.Errorf("got %q, want %q", got, c.v1)
			}
			got := ProxyV2.header(c.client)
			if len(got) != c.v2length || got[12] != c.v2 || got[13] != c.fam || int(got[14])<<8|int(got[15]) != c.v2length-16 {
				t.Errorf("got % x", got)
			}
		})
	}
}
