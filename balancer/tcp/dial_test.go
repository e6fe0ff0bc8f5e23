package tcp

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/foretier/foretier/balancer/internal/pool"
	"github.com/foretier/foretier/health"
	"github.com/foretier/foretier/internal/testkit"
)

func TestDialContext(t *testing.T) {
	ca := testkit.NewAuthority(t)
	plain := testkit.Backend(t, testkit.Echo("plain"))
	secure := testkit.Accept(t, tls.NewListener(testkit.Listen(t), &tls.Config{Certificates: []tls.Certificate{ca.Issue(t, "127.0.0.1")}}), testkit.Echo("secure"))
	for _, c := range []struct {
		url, want string
		raw       bool
	}{{"tcp://" + plain, "plain", true}, {"tls://" + secure, "secure", false}} {
		p := newPool(t, Backends(c.url), Options{TLS: &tls.Config{RootCAs: ca.Pool}})
		conn, err := p.DialContext(context.Background(), "tcp", "ignored:1")
		if err != nil {
			t.Fatal(err)
		}
		got := make([]byte, len(c.want))
		if _, err := io.ReadFull(conn, got); err != nil || string(got) != c.want {
			t.Errorf("got %q, %v", got, err)
		}
		// A driver that looks at the socket must not see TLS's own bytes.
		if _, ok := conn.(syscall.Conn); ok != c.raw {
			t.Errorf("%s: a syscall.Conn: %t, want %t", c.url, ok, c.raw)
		}
		if n := p.Backends()[0].InFlight; n != 1 {
			t.Errorf("%d in hand, want 1", n)
		}
		conn.Close()
		conn.Close()
		if n := p.Backends()[0].InFlight; n != 0 || len(p.links) != 0 {
			t.Errorf("%d in hand after Close, %d links", n, len(p.links))
		}
	}
}

func TestDialContextEndsWithItsContext(t *testing.T) {
	p := newPool(t, Backends("tls://"+testkit.Backend(t, func(c net.Conn) { _, _ = io.Copy(io.Discard, c) })), Options{Dial: -1})
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancel()
	if _, err := p.DialContext(ctx, "tcp", ""); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	if n := p.Backends()[0].InFlight; n != 0 {
		t.Errorf("%d in hand", n)
	}
}

func TestConnectionsWaitForAPlace(t *testing.T) {
	p := newPool(t, Backends("tcp://"+testkit.Backend(t, testkit.Echo("a"))), Options{Limits: Limits{InFlight: 1, Wait: patience}})
	first, err := p.DialContext(context.Background(), "", "")
	if err != nil {
		t.Fatal(err)
	}
	second := make(chan error)
	go func() {
		c, err := p.DialContext(context.Background(), "", "")
		if err == nil {
			c.Close()
		}
		second <- err
	}()
	for p.view.Waiting() == 0 {
		runtime.Gosched()
	}
	first.Close()
	if err := <-second; err != nil {
		t.Errorf("got %v", err)
	}
}

// TestCutWhenDown holds that connections do not stay on a backend that fails
// its probes while another is there, and the log says so.
func TestCutWhenDown(t *testing.T) {
	var log testkit.Log
	a, b := testkit.Backend(t, testkit.Echo("a")), testkit.Backend(t, testkit.Echo("b"))
	bad := make(chan struct{})
	p := newPool(t, Backends("tcp://"+a, "tcp://"+b), Options{
		Policy: Policy{foremost{}}, Logger: log.Logger(), Schedule: health.Schedule{Every: time.Millisecond, Changing: time.Millisecond},
		Probe: health.ProbeFunc(func(_ context.Context, t health.Target) (health.Result, error) {
			select {
			case <-bad:
				if t.Address() == a {
					return health.Result{}, errors.New("no answer")
				}
			default:
			}
			return health.Result{State: health.Up}, nil
		}),
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	defer func() { cancel(); <-done }()
	for p.Backends()[0].State != health.Up {
		runtime.Gosched()
	}
	front := carry(t, p, nil)
	through := testkit.Dial(t, front)
	direct, err := p.DialContext(ctx, "", "")
	if err != nil {
		t.Fatal(err)
	}
	defer direct.Close()
	for _, c := range []net.Conn{through, direct} {
		if got := make([]byte, 1); readFull(c, got) != nil || string(got) != "a" {
			t.Fatalf("got %q", got)
		}
	}
	close(bad)
	if _, err := direct.Read(make([]byte, 1)); !errors.Is(err, ErrMoved) {
		t.Errorf("read from DialContext's: %v", err)
	}
	if _, err := through.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("read through Serve: %v", err)
	}
	log.Wants(t, "connection broke", "level=WARN", "no longer in use", "fails its probes")
	got := make([]byte, 1)
	if err := readFull(testkit.Dial(t, front), got); err != nil || string(got) != "b" {
		t.Errorf("afterwards: %q, %v", got, err)
	}
}

func readFull(c net.Conn, b []byte) error {
	_ = c.SetReadDeadline(time.Now().Add(patience))
	_, err := io.ReadFull(c, b)
	return err
}

// foremost picks the first.
type foremost struct{}

func (foremost) Choose(pool.PickInfo, pool.Candidates) int { return 0 }
func (foremost) Why() string                               { return "the first" }
