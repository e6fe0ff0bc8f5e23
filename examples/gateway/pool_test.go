package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/foretier/foretier/internal/servertest"
	"github.com/foretier/foretier/internal/testkit"
)

// These tests are of what happens between the tier and its backends.

// protocols are those that a test's backend speaks, HTTP/2 without TLS too.
func protocols() *http.Protocols {
	p := new(http.Protocols)
	p.SetHTTP1(true)
	p.SetUnencryptedHTTP2(true)
	return p
}

// TestNobodyIsLoggedInAsTheLastVisitor: NTLM and Negotiate log in connections,
// and the tier's to a backend are everybody's.
func TestNobodyIsLoggedInAsTheLastVisitor(t *testing.T) {
	type user struct{}
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		at := r.Context().Value(user{}).(*atomic.Value)
		if who := r.Header.Get("Authorization"); who != "" {
			at.Store(who)
		}
		fmt.Fprint(w, at.Load())
	}))
	srv.Config.ConnContext = func(ctx context.Context, _ net.Conn) context.Context {
		return context.WithValue(ctx, user{}, new(atomic.Value))
	}
	srv.Config.Protocols = protocols()
	srv.Start()
	t.Cleanup(srv.Close)
	for _, scheme := range []string{"http", "h2c"} {
		addr, _ := startGateway(t, "-backends", scheme+strings.TrimPrefix(srv.URL, "http"))
		for _, as := range []string{"", "NTLM anna", "", "Negotiate berta", ""} {
			r, err := http.NewRequest("GET", "http://"+addr+"/account", nil)
			if err != nil {
				t.Fatal(err)
			}
			want := "<nil>"
			if as != "" {
				r.Header.Set("Authorization", as)
				want = as
			}
			if res, body := send(t, r); res.StatusCode != 200 || body != want {
				t.Errorf("%s, as %q: got %d %q", scheme, as, res.StatusCode, body)
			}
		}
	}
}

// send sends r and reads the whole answer.
func send(t *testing.T, r *http.Request) (*http.Response, string) {
	t.Helper()
	res, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, string(body)
}

// TestInformationalResponses: any number of them arrives before the answer, and
// none of them at a client of HTTP/1.0, which would take the first for the
// answer.
func TestInformationalResponses(t *testing.T) {
	const many = 20
	backend, _ := testkit.HTTPBackend(t, testkit.Says(strings.Repeat("HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n", many)+
		"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nCache-Control: max-age=0\r\n\r\npage"))
	for _, cache := range []string{"0", "16MiB"} {
		addr, _ := startGateway(t, "-backends", backend, "-cache", cache)
		got := raw(t, addr, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
		if n := strings.Count(got, "HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n"); n != many || !strings.HasSuffix(got, "\r\n\r\npage") {
			t.Errorf("-cache %s: %d hints: %s", cache, n, got)
		}
		if got := raw(t, addr, "GET / HTTP/1.0\r\nHost: a\r\n\r\n"); strings.Contains(got, "103") || !strings.HasPrefix(got, "HTTP/1.0 200 OK\r\n") && !strings.HasPrefix(got, "HTTP/1.1 200 OK\r\n") || !strings.HasSuffix(got, "\r\n\r\npage") {
			t.Errorf("-cache %s: HTTP/1.0: %s", cache, got)
		}
	}
}

// raw sends bytes as they are and returns what comes until the connection ends.
func raw(t *testing.T, addr, request string) string {
	t.Helper()
	conn, err := net.DialTimeout("tcp", addr, 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, request); err != nil {
		t.Error(err)
	}
	got, err := io.ReadAll(conn)
	if err != nil {
		t.Error(err)
	}
	return string(got)
}

// TestStreamsDoNotFillThePool: idle websockets, event streams and what -streams
// names leave the places of a backend to pages; a long poll that nobody has
// named takes one.
func TestStreamsDoNotFillThePool(t *testing.T) {
	backend := backendFunc(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/socket":
			conn, err := websocket.Accept(w, r, nil)
			if err != nil {
				return
			}
			defer conn.CloseNow()
			_, _, _ = conn.Read(r.Context()) // until it ends
			return
		case "/events":
			w.Header().Set("Content-Type", "text/event-stream")
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		case "/poll", "/live/poll", "/slow":
			<-r.Context().Done()
		}
		_, _ = io.WriteString(w, "page")
	})
	addr, _ := startGateway(t, "-backends", backend, "-max-requests", "2", "-max-streams", "16", "-streams", "/poll,/live/*")
	ctx, cancel := context.WithCancel(t.Context())
	page := func(when string) {
		t.Helper()
		if status, body, err := get(t, "http://"+addr+"/page"); status != 200 || body != "page" {
			t.Errorf("%s: a page: %d %q, %v", when, status, body, err)
		}
	}
	for range 4 {
		conn, _, err := websocket.Dial(ctx, "ws://"+addr+"/socket", nil)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.CloseNow() })
	}
	page("with sockets")
	for range 4 {
		r, err := http.NewRequestWithContext(ctx, "GET", "http://"+addr+"/events", nil)
		if err != nil {
			t.Fatal(err)
		}
		res, err := http.DefaultTransport.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = res.Body.Close() })
	}
	page("with events")
	var polls sync.WaitGroup
	for i := range 4 {
		polls.Go(func() {
			r, err := http.NewRequestWithContext(ctx, "GET", fmt.Sprintf("http://%s%s?%d", addr, []string{"/poll", "/live/poll"}[i%2], i), nil)
			if err == nil {
				_, err = http.DefaultTransport.RoundTrip(r)
			}
			if !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		})
	}
	page("with polls")
	cancel()
	polls.Wait()
}

// TestLoopEnds: a gateway that is its own backend, directly or by a detour,
// asks itself once; two tiers in a row are no loop.
func TestLoopEnds(t *testing.T) {
	for _, c := range [][]string{{"-cache", "0"}, {"-cache", "16MiB"}, {"-cache", "16MiB", "-cache-ttl", "60s"}, {"-via", "off"}, {"-via", "shop"}} {
		self := fmt.Sprintf("127.0.0.1:%d", servertest.FreePort(t))
		_, log := startGateway(t, append(c, "-listen", self, "-backends", "http://"+self)...)
		began := time.Now()
		if status, _, err := get(t, "http://"+self+"/page"); status != http.StatusLoopDetected || err != nil {
			t.Errorf("%v: got %d, %v, want 508", c, status, err)
		}
		if took := time.Since(began); took > 4*time.Second {
			t.Errorf("%v: it took %v", c, took)
		}
		linesOf(t, log, " target=/page ", 2)
	}
	page := backendFunc(t, func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.Header.Get("Via")) })
	back, _ := startGateway(t, "-backends", page)
	front, _ := startGateway(t, "-backends", "http://"+back)
	if status, via, err := get(t, "http://"+front+"/page"); status != 200 || strings.Count(via, ", 1.1 ") != 1 || err != nil {
		t.Errorf("two tiers in a row: %d, %v, Via %q", status, err, via)
	}
	first := fmt.Sprintf("127.0.0.1:%d", servertest.FreePort(t))
	second, _ := startGateway(t, "-backends", "http://"+first)
	_, log := startGateway(t, "-listen", first, "-backends", "http://"+second)
	if status, _, err := get(t, "http://"+first+"/page"); status != http.StatusLoopDetected || err != nil {
		t.Errorf("by a detour: got %d, %v", status, err)
	}
	linesOf(t, log, " target=/page ", 2)
}

// TestNoLimitOfRequests: 0 is a number as -h says.
func TestNoLimitOfRequests(t *testing.T) {
	addr, _ := startGateway(t, "-backends", visitorBackend(t, "web1"), "-max-requests", "0", "-max-streams", "0")
	if status, body, err := get(t, "http://"+addr+"/"); status != 200 || err != nil {
		t.Errorf("%d %q %v", status, body, err)
	}
}
