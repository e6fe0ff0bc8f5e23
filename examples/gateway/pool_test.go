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
