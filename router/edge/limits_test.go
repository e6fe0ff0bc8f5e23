package edge_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/foretier/foretier/internal/transit"
	"github.com/foretier/foretier/router/edge"
)

// A pipeListener accepts in-memory connections, which a fake clock can watch.
type pipeListener struct {
	conns chan net.Conn
	ended chan struct{}
}

func newPipeListener() *pipeListener {
	return &pipeListener{conns: make(chan net.Conn), ended: make(chan struct{})}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.ended:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error {
	select {
	case <-l.ended:
	default:
		close(l.ended)
	}
	return nil
}

func (l *pipeListener) Addr() net.Addr { return addr("pipe") }

// dial connects from an address.
func (l *pipeListener) dial(from string) net.Conn {
	client, server := net.Pipe()
	l.conns <- peer{server, addr(from)}
	return client
}

type addr string

func (a addr) Network() string { return "pipe" }
func (a addr) String() string  { return string(a) }

type peer struct {
	net.Conn
	addr addr
}

func (p peer) RemoteAddr() net.Addr { return p.addr }

// inBubble runs f with a server for h on a fake clock.
func inBubble(t *testing.T, h http.Handler, opts edge.Options, f func(*pipeListener)) {
	synctest.Test(t, func(t *testing.T) {
		l := newPipeListener()
		opts.Listener, opts.Linger, opts.Logger = l, -1, slog.New(slog.DiscardHandler)
		srv, err := edge.New(h, opts)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- srv.Run(ctx) }()
		f(l)
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
}

// closedAfter reads until the server closes c, and returns how long that took.
func closedAfter(r io.Reader) time.Duration {
	began := time.Now()
	_, _ = io.Copy(io.Discard, r)
	return time.Since(began)
}

func TestSlowHeader(t *testing.T) {
	inBubble(t, http.NotFoundHandler(), edge.Options{}, func(l *pipeListener) {
		c := l.dial("192.0.2.1:1")
		defer c.Close()
		io.WriteString(c, "GET / HTTP/1.1\r\nHost: a\r\n")
		if got := closedAfter(c); got < 9*time.Second || got > 11*time.Second {
			t.Errorf("closed after %s, want 10 s", got)
		}
	})
}

func TestIdle(t *testing.T) {
	for from, want := range map[string]time.Duration{"192.0.2.1:1": 75 * time.Second, "10.0.0.1:1": 920 * time.Second} {
		h := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "ok") })
		inBubble(t, h, edge.Options{Trusted: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}, func(l *pipeListener) {
			c := l.dial(from)
			defer c.Close()
			r := bufio.NewReader(c)
			for range 2 {
				io.WriteString(c, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
				res, err := http.ReadResponse(r, nil)
				if err != nil {
					t.Fatal(err)
				}
				_, _ = io.Copy(io.Discard, res.Body)
			}
			if got := closedAfter(r); got < want-2*time.Second || got > want+2*time.Second {
				t.Errorf("%s: closed after %s, want %s", from, got, want)
			}
		})
	}
}

func TestBodyStall(t *testing.T) {
	var took time.Duration
	var err error
	h := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		began := time.Now()
		_, err = io.Copy(io.Discard, r.Body)
		took = time.Since(began)
	})
	inBubble(t, h, edge.Options{}, func(l *pipeListener) {
		c := l.dial("192.0.2.1:1")
		defer c.Close()
		io.WriteString(c, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n")
		for range 4 { // slow, but not stalled
			time.Sleep(20 * time.Second)
			io.WriteString(c, "x")
		}
		closedAfter(c)
		if !errors.Is(err, os.ErrDeadlineExceeded) || took < 108*time.Second || took > 111*time.Second {
			t.Errorf("gave up after %s with %v, want 110 s", took, err)
		}
	})
}

// To a pool a client that stalls looks like one that has gone: the request is
// cancelled. It is answered with 408 all the same.
func TestBodyStallIs408(t *testing.T) {
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		go io.Copy(io.Discard, r.Body)
		<-r.Context().Done()
		transit.Fail(w, r, transit.StatusGone, r.Context().Err())
	})
	inBubble(t, h, edge.Options{}, func(l *pipeListener) {
		c := l.dial("192.0.2.1:1")
		defer c.Close()
		io.WriteString(c, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nx")
		res, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatal(err)
		}
		if res.StatusCode != http.StatusRequestTimeout {
			t.Errorf("got %s", res.Status)
		}
	})
}

// The deadline of the body does not outlive it: handlers may take their time.
func TestSlowHandlerAfterBody(t *testing.T) {
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		select {
		case <-time.After(10 * time.Minute):
			io.WriteString(w, "exported")
		case <-r.Context().Done():
		}
	})
	inBubble(t, h, edge.Options{}, func(l *pipeListener) {
		c := l.dial("192.0.2.1:1")
		defer c.Close()
		io.WriteString(c, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx")
		res, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatal(err)
		}
		if body, err := io.ReadAll(res.Body); string(body) != "exported" {
			t.Errorf("got %q, %v", body, err)
		}
	})
}

func TestWriteStall(t *testing.T) {
	var took time.Duration
	h := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		began := time.Now()
		for err := error(nil); err == nil; {
			_, err = w.Write(make([]byte, 32<<10))
		}
		took = time.Since(began)
	})
	inBubble(t, h, edge.Options{}, func(l *pipeListener) {
		c := l.dial("192.0.2.1:1")
		defer c.Close()
		io.WriteString(c, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
		for range 4 { // slow, but not stalled
			time.Sleep(100 * time.Second)
			if _, err := io.ReadFull(c, make([]byte, 64<<10)); err != nil {
				t.Error(err)
			}
		}
		time.Sleep(200 * time.Second)
		synctest.Wait()
		if took < 519*time.Second || took > 551*time.Second {
			t.Errorf("gave up after %s, want 520 s, or a quarter of the limit more", took)
		}
	})
}

// A slow source is no slow client: what comes from a pipe, or over an upgraded
// connection, may pause for longer than the client may.
func TestSlowSourceIsNoStall(t *testing.T) {
	for name, upgrade := range map[string]bool{"response": false, "upgrade": true} {
		h := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			var to io.Writer = w
			pause := 5 * time.Minute
			if upgrade {
				c, _, err := http.NewResponseController(w).Hijack()
				if err != nil {
					t.Error(err)
					return
				}
				defer c.Close()
				to, pause = c, 50*time.Minute
				io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")
			} else {
				w.Header().Set("Content-Length", "5")
				http.NewResponseController(w).Flush()
			}
			pr, pw := io.Pipe()
			go func() {
				for range 5 {
					time.Sleep(pause)
					io.WriteString(pw, "x")
				}
				pw.Close()
			}()
			if n, err := io.Copy(to, pr); n != 5 || err != nil {
				t.Errorf("%s: %d bytes, %v", name, n, err)
			}
		})
		inBubble(t, h, edge.Options{}, func(l *pipeListener) {
			c := l.dial("192.0.2.1:1")
			defer c.Close()
			io.WriteString(c, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
			res, err := http.ReadResponse(bufio.NewReader(c), nil)
			if err != nil {
				t.Fatal(err)
			}
			if body, err := io.ReadAll(res.Body); string(body) != "xxxxx" || err != nil {
				t.Errorf("%s: got %q, %v", name, body, err)
			}
		})
	}
}

func TestUpgradeIdle(t *testing.T) {
	h := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		c, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		_, _ = io.Copy(io.Discard, c)
	})
	inBubble(t, h, edge.Options{}, func(l *pipeListener) {
		c := l.dial("192.0.2.1:1")
		defer c.Close()
		io.WriteString(c, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
		time.Sleep(50 * time.Minute)
		if _, err := io.WriteString(c, "x"); err != nil {
			t.Error(err)
		}
		if got := closedAfter(c); got < 59*time.Minute || got > 61*time.Minute {
			t.Errorf("closed after %s, want 1 h", got)
		}
	})
}

// A connection has 100 streams; for more the client must open another.
func TestStreams(t *testing.T) {
	certs, err := edge.Certificates(pair(t, t.TempDir(), "shop.example", time.Now().Add(time.Hour)))
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	all, byConn := 0, map[string]int{}
	leave := make(chan struct{})
	h := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		mu.Lock()
		all++
		byConn[r.RemoteAddr]++
		mu.Unlock()
		<-leave
	})
	srv := serve(t, h, edge.Options{Certificates: certs})
	client := http2Client(t)
	var wg sync.WaitGroup
	for range 150 {
		wg.Go(func() {
			res, err := client.Get("https://" + srv.Addr().String())
			if err != nil {
				t.Error(err)
				return
			}
			res.Body.Close()
		})
	}
	waitFor(t, func() bool { mu.Lock(); defer mu.Unlock(); return all == 150 })
	close(leave)
	wg.Wait()
	most := 0
	for _, n := range byConn {
		most = max(most, n)
	}
	if most != 100 {
		t.Errorf("%d streams on a connection, want 100", most)
	}
}

// Connections that dribble their headers cost the others nothing, and are cut.
func TestSlowloris(t *testing.T) {
	h := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "ok") })
	srv := serve(t, h, edge.Options{Limits: edge.Limits{Header: 2 * time.Second}})
	var wg sync.WaitGroup
	var cut atomic.Int64
	for range 200 {
		c, err := net.Dial("tcp", srv.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		io.WriteString(c, "GET / HTTP/1.1\r\nHost: a\r\n")
		wg.Go(func() {
			tick := time.NewTicker(200 * time.Millisecond)
			defer tick.Stop()
			for range 150 { // for half a minute, if let
				<-tick.C
				if _, err := io.WriteString(c, "X: y\r\n"); err != nil {
					cut.Add(1)
					return
				}
			}
		})
	}
	for range 50 {
		if got := ask(t, srv.Addr().String(), "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"); got != 200 {
			t.Errorf("an ordinary request got %d", got)
		}
	}
	wg.Wait()
	if cut.Load() != 200 {
		t.Errorf("%d of 200 connections were cut", cut.Load())
	}
}
