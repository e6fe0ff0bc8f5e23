package edge_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/foretier/foretier/cache"
	"github.com/foretier/foretier/health"
	"github.com/foretier/foretier/internal/testkit"
	"github.com/foretier/foretier/router/edge"
)

// A quicless is an HTTP3 that serves nobody.
type quicless struct {
	lent   chan edge.Lent
	broken chan error // what Serve ends with
	shut   atomic.Bool
	closed atomic.Int64
}

func newQuicless() *quicless {
	return &quicless{lent: make(chan edge.Lent, 1), broken: make(chan error, 1)}
}

func (q *quicless) Serve(l edge.Lent) error {
	q.lent <- l
	return <-q.broken
}

func (q *quicless) Shutdown(context.Context) error {
	q.shut.Store(true)
	return q.Close()
}

func (q *quicless) Close() error {
	if q.closed.Add(1) == 1 {
		q.broken <- nil
	}
	return nil
}

func (q *quicless) Report() health.Report { return health.Report{Kind: "http3", Name: "fake"} }

// secured returns options for a server with TLS and HTTP/3.
func secured(t *testing.T, q edge.HTTP3) edge.Options {
	t.Helper()
	pair := testkit.NewAuthority(t).Issue(t, "shop.example")
	return edge.Options{TLS: &tls.Config{Certificates: []tls.Certificate{pair}}, HTTP3: q}
}

// TestAltSvc: answers say where HTTP/3 is for as long as it is served, those from the
// head and those over HTTP/2 too.
func TestAltSvc(t *testing.T) {
	q := newQuicless()
	s := newShop(t, secured(t, q), cache.Options{})
	lent := <-q.lent
	c := tls.Client(testkit.Dial(t, s.srv.Addr().String()), &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"http/1.1"}})
	defer c.Close()
	br := bufio.NewReader(c)
	says := func() string {
		t.Helper()
		if _, err := c.Write([]byte("GET /100 HTTP/1.1\r\nHost: shop.example\r\n\r\n")); err != nil {
			t.Fatal(err)
		}
		res, err := http.ReadResponse(br, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := br.Discard(100); err != nil {
			t.Fatal(err)
		}
		return strings.Join(res.Header["Alt-Svc"], "|")
	}
	for range 5 {
		if got := says(); got != "" || s.instant() != 0 {
			t.Fatalf("before HTTP/3 is served: Alt-Svc %q, %d answered from the head", got, s.instant())
		}
	}
	lent.Announce(`h3=":443"`)
	for s.instant() < 3 {
		if got := says(); got != `h3=":443"` {
			t.Fatalf("%d answered from the head: Alt-Svc %q", s.instant(), got)
		}
	}
	res, err := http2Client(t).Get("https://" + s.srv.Addr().String() + "/100")
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if got := res.Header.Get("Alt-Svc"); got != `h3=":443"` || res.ProtoMajor != 2 {
		t.Errorf("%s: Alt-Svc %q", res.Proto, got)
	}
	n := s.instant()
	lent.Announce("")
	if got := says(); got != "" || s.instant() != n {
		t.Errorf("HTTP/3 has ended: Alt-Svc %q", got)
	}
}

// TestAltSvcOfAHandlerStays: who sets one knows why.
func TestAltSvcOfAHandlerStays(t *testing.T) {
	q := newQuicless()
	srv := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.Header().Set("Alt-Svc", "clear") }), secured(t, q))
	(<-q.lent).Announce(`h3=":443"`)
	res, err := http2Client(t).Get("https://" + srv.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if got := res.Header["Alt-Svc"]; len(got) != 1 || got[0] != "clear" {
		t.Errorf("Alt-Svc %q, want clear", got)
	}
}

// TestHTTP3EndsWithItsServer, which announces it no more while it drains, and goes on
// without one that breaks.
func TestHTTP3EndsWithItsServer(t *testing.T) {
	for _, breaks := range []bool{false, true} {
		q := newQuicless()
		opts := secured(t, q)
		opts.Addr, opts.Linger = "127.0.0.1:0", time.Hour
		var log testkit.Log
		opts.Logger = log.Logger()
		srv, err := edge.New(http.NotFoundHandler(), opts)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- srv.Run(ctx) }()
		lent := <-q.lent
		says := func() string {
			res, err := http2Client(t).Get("https://" + srv.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			res.Body.Close()
			return res.Header.Get("Alt-Svc")
		}
		lent.Announce("h3")
		if got := says(); got != "h3" {
			t.Errorf("Alt-Svc %q", got)
		}
		if breaks {
			q.broken <- errors.New("no more sockets")
			log.Wants(t, "HTTP/3 is not served", "no more sockets")
			testkit.Within(t, 10*time.Second, "the report", func() bool { return strings.Contains(srv.Report().Why, "no more sockets") })
		} else {
			cancel()
			testkit.Within(t, 10*time.Second, "draining", func() bool { return errors.Is(srv.Ready(), edge.ErrDraining) })
			lent.Announce("h3") // too late
		}
		if got := says(); got != "" {
			t.Errorf("Alt-Svc %q", got)
		}
		cancel()
		_ = srv.Close() // which ends the linger
		<-done
		if !q.shut.Load() && !breaks || q.closed.Load() == 0 {
			t.Error("HTTP/3 was not ended")
		}
	}
}

// TestGuestsCount: connections of another protocol are bounded with those of the server's
// own, and make room as they do.
func TestGuestsCount(t *testing.T) {
	q := newQuicless()
	opts := secured(t, q)
	opts.Limits.Conns, opts.Limits.ClientConns = 4, 2
	srv := serve(t, http.NotFoundHandler(), opts)
	lent := <-q.lent
	greet := func(addr string) *edge.Guest {
		_, g := lent.Greet(t.Context(), net.UDPAddrFromAddrPort(netip.MustParseAddrPort(addr)))
		return g
	}
	closed := make(chan string, 10)
	enter := func(addr string) (*edge.Guest, bool) {
		g := greet(addr)
		return g, g.Shaken(tls.ConnectionState{}, func() { closed <- addr })
	}
	one, ok := enter("192.0.2.1:1")
	if !ok {
		t.Fatal("the first was refused")
	}
	one.Busy()
	if _, ok = enter("192.0.2.1:2"); !ok {
		t.Fatal("the second was refused")
	}
	if _, ok = enter("192.0.2.1:3"); !ok || <-closed != "192.0.2.1:2" {
		t.Error("the third of a client had to find room in place of the idle one")
	}
	for _, addr := range []string{"192.0.2.2:1", "192.0.2.3:1"} {
		g, ok := enter(addr)
		if !ok {
			t.Fatalf("%s was refused", addr)
		}
		g.Busy()
	}
	if _, ok = enter("192.0.2.4:1"); !ok || <-closed != "192.0.2.1:3" {
		t.Error("one beyond the limit had to find room in place of the idle one")
	}
	one.Leave()
	one.Leave()
	failed := greet("192.0.2.5:1")
	failed.Leave()
	if failed.Admit() {
		t.Error("one that has left was admitted")
	}
	r := srv.Report()
	for name, want := range map[string]float64{"connections_total": 6, "connections_open": 5, "handshakes_total": 6, "handshakes_failed_total": 1, "connections_closed_idle_total": 2} {
		if got := metric(r, name); got != want {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
}

func TestHTTP3NeedsTLS(t *testing.T) {
	pair := testkit.NewAuthority(t).Issue(t, "shop.example")
	for what, opts := range map[string]edge.Options{
		"HTTP3 without TLS":        {HTTP3: newQuicless()},
		"HTTP3 is a nil pointer":   {HTTP3: (*quicless)(nil), TLS: &tls.Config{Certificates: []tls.Certificate{pair}}},
		"MaxVersion below TLS 1.3": {HTTP3: newQuicless(), TLS: &tls.Config{Certificates: []tls.Certificate{pair}, MaxVersion: tls.VersionTLS12}},
	} {
		opts.Addr = "127.0.0.1:0"
		if _, err := edge.New(http.NotFoundHandler(), opts); err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("%v, want %q", err, what)
		}
	}
}
