package edge

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
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/foretier/foretier/internal/testkit"
	"github.com/foretier/foretier/router/edge/internal/wire"
)

// A guest is a client that is in the middle of something when the server is told
// to end.
type guest struct {
	nc net.Conn
	c  net.Conn // nc, or TLS above it
	r  *bufio.Reader
}

func (g *guest) send(text string) error {
	_, err := io.WriteString(g.c, text)
	return err
}

// get reads an answer, which has to be of n bytes, and reports whether it is the
// last.
func (g *guest) get(n int) (last bool, err error) {
	res, err := http.ReadResponse(g.r, nil)
	if err != nil {
		return false, err
	}
	got, err := io.Copy(io.Discard, res.Body)
	if err != nil || res.StatusCode != http.StatusOK || got != int64(n) {
		return false, fmt.Errorf("%s, %d bytes of %d: %v", res.Status, got, n, err)
	}
	return res.Close, nil
}

// ends waits for the end of the connection.
func (g *guest) ends() error {
	if b, err := g.r.ReadByte(); err != io.EOF {
		return fmt.Errorf("read %q, %v", b, err)
	}
	return nil
}

// last reads an answer of n bytes, and the end.
func (g *guest) last(n int) error {
	if _, err := g.get(n); err != nil {
		return err
	}
	return g.ends()
}

func request(path string) string { return "GET " + path + " HTTP/1.1\r\nHost: a\r\n\r\n" }

const (
	smallAnswer = 2
	largeAnswer = 6 << 20 // bytes: more than the sockets on the way hold
	upload      = "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n01234"
)

// guests are the kinds of them: what each does before the server is told to end,
// and how it goes on then.
var guests = []struct {
	name          string
	before, after func(*guest) error
}{
	{"no hand shaken", func(*guest) error { return nil }, func(g *guest) error { // it has asked for nothing that could be lost
		if b, err := g.r.ReadByte(); err == nil {
			return fmt.Errorf("read %q", b)
		}
		return nil
	}},
	{"nothing said", func(g *guest) error {
		if c, ok := g.c.(*tls.Conn); ok {
			return c.Handshake()
		}
		return nil
	}, (*guest).ends},
	{"idle", func(g *guest) error {
		err := g.send(request("/"))
		if err == nil {
			_, err = g.get(smallAnswer)
		}
		return err
	}, (*guest).ends},
	{"half a head", func(g *guest) error { return g.send(request("/")[:20]) }, func(g *guest) error {
		return errors.Join(g.send(request("/")[20:]), g.last(smallAnswer))
	}},
	{"one byte", func(g *guest) error { return g.send("G") }, func(g *guest) error {
		return errors.Join(g.send(request("/")[1:]), g.last(smallAnswer))
	}},
	{"in its handler", func(g *guest) error { return g.send(request("/wait")) }, func(g *guest) error { return g.last(smallAnswer) }},
	{"pipelined", func(g *guest) error { return g.send(strings.Repeat(request("/wait"), 9)) }, func(g *guest) error {
		for range 8 {
			if last, err := g.get(smallAnswer); err != nil || last {
				return fmt.Errorf("the last is this: %t, %v", last, err)
			}
		}
		return g.last(smallAnswer)
	}},
	{"reading slowly", func(g *guest) error {
		_ = g.nc.(*net.TCPConn).SetReadBuffer(128 << 10) // or all of it is on the way
		err := g.send(request("/large"))
		if err == nil {
			_, err = g.r.Peek(100)
		}
		return err
	}, func(g *guest) error { return g.last(largeAnswer) }},
	{"uploading", func(g *guest) error { return g.send(upload) }, func(g *guest) error {
		return errors.Join(g.send("56789"), g.last(10))
	}},
	{"upgraded", func(g *guest) error {
		err := g.send(request("/upgrade"))
		if err == nil {
			_, err = g.r.ReadString('\n')
		}
		return err
	}, func(g *guest) error { // it is closed only once all others have ended
		_, err := io.Copy(io.Discard, g.r)
		return err
	}},
}

// TestADrainOfManyLosesNothing: FORETIER_DRAIN connections, or a few, of all kinds
// are open when the server is told to end. It answers every request of which a byte
// had come, ends in time, and leaves nothing.
func TestADrainOfManyLosesNothing(t *testing.T) {
	all := 180
	if s := os.Getenv("FORETIER_DRAIN"); s != "" {
		var err error
		if all, err = strconv.Atoi(s); err != nil {
			t.Fatal(err)
		}
	}
	authority := testkit.NewAuthority(t)
	certificate := authority.Issue(t, "shop.example")
	t.Run("plain", func(t *testing.T) { drainMany(t, all/len(guests), nil, nil) })
	t.Run("TLS", func(t *testing.T) {
		drainMany(t, all/len(guests),
			&tls.Config{Certificates: []tls.Certificate{certificate}}, &tls.Config{RootCAs: authority.Pool, ServerName: "shop.example"})
	})
}

// drainMany drains a server with n guests of each kind.
func drainMany(t *testing.T, n int, server, client *tls.Config) {
	const long = 6 * testkit.Patience // thousands of handshakes take a while, with the race detector above all
	before := runtime.NumGoroutine()
	release, large := make(chan bool), make([]byte, largeAnswer)
	opts := Options{Addr: "127.0.0.1:0", Linger: -1, Logger: slog.New(slog.DiscardHandler), TLS: server, Limits: Limits{Conns: -1, Header: long, Idle: long, BodyStall: long}, Drain: long}
	s, err := New(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/wait":
			<-release
		case "/large":
			w.Write(large)
			return
		case "/echo":
			io.Copy(w, r.Body)
			return
		case "/upgrade":
			c, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\n\r\n")
			io.Copy(c, c)
			return
		}
		io.WriteString(w, "ok")
	}), opts)
	if err != nil {
		t.Fatal(err)
	}
	s.wires.Close()
	s.wires = wire.NewSet(wire.Options{Tick: 10 * time.Millisecond, ParkAfter: 100 * time.Millisecond})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()

	ready, draining := sync.WaitGroup{}, make(chan bool)
	var gone sync.WaitGroup
	for _, kind := range guests {
		for range n {
			ready.Add(1)
			gone.Go(func() {
				g := &guest{nc: testkit.Dial(t, s.Addr().String())}
				defer g.nc.Close()
				g.nc.SetDeadline(time.Now().Add(long))
				if g.c = g.nc; client != nil {
					g.c = tls.Client(g.nc, client)
				}
				g.r = bufio.NewReader(g.c)
				err := kind.before(g)
				if ready.Done(); err != nil {
					t.Errorf("%s, before: %v", kind.name, err)
					return
				}
				<-draining
				if err := kind.after(g); err != nil {
					t.Errorf("%s: %v", kind.name, err)
				}
			})
		}
	}
	ready.Wait()
	// Over TLS, those are not parked that have not shaken hands.
	asleep := map[bool]int{false: 3 * n, true: 2 * n}[client != nil]
	testkit.Within(t, long, "all are where they should be", func() bool {
		return s.stats.inFlight.Load() == int64(5*n) && s.upgrades.count() == n && (runtime.GOOS != "linux" || s.h1.Parked() == asleep)
	})
	began := time.Now()
	cancel()
	testkit.Within(t, testkit.Patience, "it drains", func() bool { return s.phase.Load() == phaseDraining })
	close(draining)
	close(release)
	if err := <-ended; err != nil {
		t.Errorf("Run: %v", err)
	}
	t.Logf("%d connections: %v", n*len(guests), time.Since(began).Round(time.Millisecond))
	gone.Wait()
	testkit.Within(t, testkit.Patience, "no goroutine is left", func() bool { return runtime.NumGoroutine() <= before })
	if open := s.stats.open.Load(); open != 0 || len(s.wires.All()) != 0 {
		t.Errorf("%d connections are open, %d held", open, len(s.wires.All()))
	}
}

// TestOpeningsSubside: as long as one after the other becomes known, all are waited
// for; those that say nothing are not.
func TestOpeningsSubside(t *testing.T) {
	for _, c := range []struct {
		name              string
		opening           int
		ends              []time.Duration // after how long one of them is known
		given, want, left int
	}{
		{name: "none"},
		{name: "all, one by one", opening: 3, ends: []time.Duration{900, 900, 900}, given: 10_000, want: 2700},
		{name: "two, and one that is silent", opening: 3, ends: []time.Duration{900, 900}, given: 10_000, want: 3000, left: 1},
		{name: "silent", opening: 2, given: 10_000, want: 1000, left: 2},
		{name: "beyond the time given", opening: 3, ends: []time.Duration{900, 900, 900}, given: 1500, want: 1500, left: 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var o openings
				o.add(c.opening)
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(c.given)*time.Millisecond)
				defer cancel()
				var ends sync.WaitGroup
				defer ends.Wait()
				ends.Go(func() {
					for _, d := range c.ends {
						time.Sleep(d * time.Millisecond)
						o.add(-1)
					}
				})
				began := time.Now()
				o.subside(ctx, time.Second)
				if took, left := time.Since(began), o.count(); took != time.Duration(c.want)*time.Millisecond || left != c.left {
					t.Errorf("subsided after %v with %d left, want %d ms and %d", took, left, c.want, c.left)
				}
			})
		})
	}
}

// A lateListener gives its connection when it is being closed, as one does whose accept
// has just returned.
type lateListener struct {
	net.Listener
	conn   net.Conn
	closed chan struct{}
	once   sync.Once
}

func (l *lateListener) Accept() (net.Conn, error) {
	<-l.closed
	time.Sleep(50 * time.Millisecond) // as long as it was not given a processor
	if c := l.conn; c != nil {
		l.conn = nil
		return c, nil
	}
	return nil, net.ErrClosed
}

func (l *lateListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.Listener.Close()
}

// TestTheLastConnectionIsServed though it was accepted while the listener was closed.
func TestTheLastConnectionIsServed(t *testing.T) {
	l := testkit.Listen(t)
	client := testkit.Dial(t, l.Addr().String())
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(client, "GET / HTTP/1.1\r\nHost: shop.example\r\nConnection: close\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	page := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "page") })
	srv, err := New(page, Options{Listener: &lateListener{Listener: l, conn: conn, closed: make(chan struct{})}, Linger: -1})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := srv.Run(ctx); err != nil {
		t.Error(err)
	}
	if answer, err := io.ReadAll(client); !strings.HasSuffix(string(answer), "page") {
		t.Errorf("%q, %v", answer, err)
	}
}
