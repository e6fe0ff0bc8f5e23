package h3_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
	"github.com/quic-go/quic-go/quicvarint"

	"github.com/foretier/foretier/internal/testkit"
	"github.com/foretier/foretier/router/edge"
	"github.com/foretier/foretier/router/edge/h3"
)

// leaving waits until the server tells c to go elsewhere, and returns from which stream on.
func (c *rawConn) leaving() uint64 {
	c.tb.Helper()
	ctx, cancel := context.WithTimeout(c.tb.Context(), 20*time.Second)
	defer cancel()
	s, err := c.AcceptUniStream(ctx)
	if err != nil {
		c.tb.Fatal(err)
	}
	in := quicvarint.NewReader(s)
	next := func() uint64 {
		n, err := quicvarint.Read(in)
		if err != nil {
			c.tb.Fatal(err)
		}
		return n
	}
	if kind := next(); kind != 0 {
		c.tb.Fatalf("a stream of kind %d", kind)
	}
	for {
		kind, n := next(), next()
		if kind == frameGoAway {
			return next()
		}
		if _, err := io.CopyN(io.Discard, in, int64(n)); err != nil {
			c.tb.Fatal(err)
		}
	}
}

// TestDrain: clients are told to leave, requests in hand end, others are refused, and
// nothing is answered by half.
func TestDrain(t *testing.T) {
	goOn, began := make(chan struct{}), make(chan struct{}, 10)
	f := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			began <- struct{}{}
			<-goOn
			io.WriteString(w, strings.Repeat("0123456789", 100_000))
		}
	}), edge.Options{Drain: 20 * time.Second})
	c, idle := f.dial(t, nil), f.dial(t, nil)
	if _, err := idle.ask(getting("/")); err != nil {
		t.Fatal(err)
	}
	slow := c.send(header(getting("/slow")))
	<-began
	done := make(chan error, 1)
	go func() { done <- f.end() }()
	if id := c.leaving(); id != 4 {
		t.Errorf("told to leave from stream %d on, want 4", id)
	}
	// What begins now is another server's to answer, and its client may know.
	_, err := c.ask(getting("/late"))
	if reset, ok := errors.AsType[*quic.StreamError](err); !ok || reset.ErrorCode != quic.StreamErrorCode(http3.ErrCodeRequestRejected) {
		t.Errorf("a late request: %v", err)
	}
	if late, err := f.tryDial(t, nil); err == nil {
		_ = late.CloseWithError(0, "")
		t.Error("a late connection was taken")
	}
	if err := closedBy(t, idle.Conn, 10*time.Second); !isH3(err, http3.ErrCodeNoError) {
		t.Errorf("the idle one: %v", err)
	}
	close(goOn)
	r, err := answer(slow)
	if err != nil || r.status != 200 || len(r.body) != 1_000_000 {
		t.Errorf("the slow one: %d, %d bytes, %v", r.status, len(r.body), err)
	}
	if err := <-done; err != nil {
		t.Errorf("Run: %v", err)
	}
	again, err := h3.New(h3.Options{Addr: f.quic.Addr().String()})
	if err != nil {
		t.Fatalf("the address is not free: %v", err)
	}
	_ = again.Close()
}

// TestDrainOfMany: clients who go on asking lose nothing, since they know which of their
// requests nobody has seen.
func TestDrainOfMany(t *testing.T) {
	var served, pages atomic.Int64
	f := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		time.Sleep(time.Millisecond) // a page takes a while
		served.Add(1)
		io.WriteString(w, "page")
	}), edge.Options{Drain: 20 * time.Second})
	var all sync.WaitGroup
	for range 20 {
		client := f.client(t)
		all.Go(func() {
			for {
				res, err := client.Get("https://shop.example/")
				if err != nil {
					return // told to leave, or refused
				}
				text, err := io.ReadAll(res.Body)
				res.Body.Close()
				if err != nil || string(text) != "page" {
					t.Errorf("%q, %v", text, err)
				}
				pages.Add(1)
			}
		})
	}
	testkit.Within(t, 20*time.Second, "pages", func() bool { return pages.Load() > 500 })
	if err := f.end(); err != nil {
		t.Errorf("Run: %v", err)
	}
	all.Wait()
	if served.Load() != pages.Load() {
		t.Errorf("of %d pages that were served %d came", served.Load(), pages.Load())
	}
}

// TestDrainIsBounded: who does not end is cut off.
func TestDrainIsBounded(t *testing.T) {
	f := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
		panic(http.ErrAbortHandler)
	}), edge.Options{Drain: 300 * time.Millisecond})
	c := f.dial(t, nil)
	s := c.send(header(getting("/")))
	if _, err := s.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	err := f.end()
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "over HTTP/3 were cut off after 300ms") {
		t.Errorf("Run: %v", err)
	}
	if _, err := io.Copy(io.Discard, s); err == nil {
		t.Error("an answer that was cut off ended as if it were whole")
	}
}

// TestCloses: a server that is closed leaves nothing.
func TestCloses(t *testing.T) {
	f := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() }), edge.Options{Drain: 5 * time.Second})
	c := f.dial(t, nil)
	c.send(header(getting("/")))
	testkit.Within(t, 10*time.Second, "in hand", func() bool { return metric(f.Report(), "requests_in_flight") == 1 })
	_ = f.Close()
	if err := closedBy(t, c.Conn, 10*time.Second); !isH3(err, http3.ErrCodeNoError) {
		t.Errorf("closed with %v", err)
	}
	testkit.Within(t, 10*time.Second, "nothing in hand", func() bool { return metric(f.Report(), "requests_in_flight") == 0 })
	_ = f.end() // which says that the listener broke
}

// TestCertificates: what is taken up for TCP is for QUIC, too.
func TestCertificates(t *testing.T) {
	dir := t.TempDir()
	first, second := testkit.NewAuthority(t), testkit.NewAuthority(t)
	certFile, keyFile := testkit.Files(t, dir, "shop", first.Issue(t, "shop.example"))
	certs, err := edge.Certificates(certFile, keyFile)
	if err != nil {
		t.Fatal(err)
	}
	f := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {}), edge.Options{Certificates: certs})
	f.roots = first.Pool
	get(t, f.client(t), "https://shop.example/")
	testkit.Files(t, dir, "shop", second.Issue(t, "shop.example"))
	if err := certs.Reload(); err != nil {
		t.Fatal(err)
	}
	if _, err := f.client(t).Get("https://shop.example/"); err == nil {
		t.Error("the old certificate is served")
	}
	f.roots = second.Pool
	get(t, f.client(t), "https://shop.example/")
}

// TestNames: a client certificate opens its own name only.
func TestNames(t *testing.T) {
	authority := testkit.NewAuthority(t)
	shop := authority.Issue(t, "shop.example")
	staff := authority.Issue(t, "staff")
	f := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.Host) }), edge.Options{TLS: &tls.Config{
		Certificates: []tls.Certificate{shop},
		GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			c := &tls.Config{Certificates: []tls.Certificate{shop}}
			if hello.ServerName == "admin.example" {
				if len(hello.SupportedProtos) == 0 {
					return nil, errors.New("a question without its handshake")
				}
				c.ClientAuth, c.ClientCAs = tls.RequireAndVerifyClientCert, authority.Pool
			}
			return c, nil
		},
	}})
	dial := func(name string, certs ...tls.Certificate) (*rawConn, error) {
		config := clientTLS()
		config.ServerName, config.Certificates = name, certs
		c, err := quic.DialAddr(t.Context(), f.quic.Addr().String(), config, nil)
		if err != nil {
			return nil, err
		}
		t.Cleanup(func() { _ = c.CloseWithError(0, "") })
		return &rawConn{c, t}, nil
	}
	for _, tc := range []struct {
		name, host string
		certs      []tls.Certificate
		want       int
	}{
		{"shop.example", "shop.example", nil, 200},
		{"shop.example", "admin.example", nil, 421},
		{"shop.example", "www.example", nil, 200},
		{"admin.example", "admin.example", []tls.Certificate{staff}, 200},
		{"admin.example", "shop.example", []tls.Certificate{staff}, 421},
		{"admin.example", "admin.example", nil, 0},
	} {
		c, err := dial(tc.name, tc.certs...)
		var r reply
		switch {
		case err != nil:
		case tc.want == 0: // its end of the handshake is over before the server has missed a certificate
			select {
			case <-c.Context().Done():
			case <-time.After(testkit.Patience):
				t.Errorf("a connection for %s without a certificate stays", tc.name)
			}
		default:
			r, err = c.ask([]pair{{":method", "GET"}, {":scheme", "https"}, {":authority", tc.host}, {":path", "/"}})
		}
		if r.status != tc.want {
			t.Errorf("%s on a connection for %s: %d, %v, want %d", tc.host, tc.name, r.status, err, tc.want)
		}
	}
}
