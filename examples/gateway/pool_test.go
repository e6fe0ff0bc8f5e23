package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
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
	backend, _ := rawBackend(t, strings.Repeat("HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n", many)+
		"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nCache-Control: max-age=0\r\n\r\npage")
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
