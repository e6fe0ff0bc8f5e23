package main

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/foretier/foretier/internal/testkit"
)

// TestTargetGoesOnAsSent: through the whole tier, past the cache or into it,
// a backend gets the path and the query that the client sent, at most with a
// byte escaped that no URI may hold.
func TestTargetGoesOnAsSent(t *testing.T) {
	backend := backendFunc(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		_, _ = io.WriteString(w, r.RequestURI)
	})
	for name, flags := range map[string][]string{
		"cache":     {"-backends", backend},
		"no cache":  {"-backends", backend, "-cache", "0"},
		"base path": {"-backends", backend + "/base%2Fx"},
		"admin":     {"-backends", "http://127.0.0.1:1", "-origin", backend, "-admin", "/a"},
	} {
		t.Run(name, func(t *testing.T) {
			addr, _ := startGateway(t, append(flags, "-probe", "")...)
			base := map[string]string{"base path": "/base%2Fx"}[name]
			for range 2 { // the second time from the cache, where there is one
				for sent, want := range map[string]string{
					"/a%2Fb{c}":             "/a%2Fb%7Bc%7D",
					"/a/b{c}":               "/a/b%7Bc%7D", // another page
					"/a%2fb%7e\"^|":         "/a%2fb%7e%22%5E%7C",
					"/a/caf\xc3\xa9%2F%c3":  "/a/caf%C3%A9%2F%c3",
					"/a/it's(x)!*[b]":       "/a/it's(x)!*[b]",
					"/a/img/https://x/y%2F": "/a/img/https://x/y%2F",
					"/a?q=100%&page=2":      "/a?q=100%&page=2",
					"/a?page=2":             "/a?page=2",
					"/a?a=1;b=2":            "/a?a=1;b=2",
					"/a?a={b}&%zz&c=%2f":    "/a?a={b}&%zz&c=%2f",
					"/a?":                   "/a?",
				} {
					if status, got := sendTarget(t, addr, "GET", sent); got != base+want || status != 200 {
						t.Errorf("%q: %d, came as %q, want %q", sent, status, got, base+want)
					}
				}
			}
		})
	}
}

// TestTargetGoesOnAsSentOverHTTP2: what a client says in HTTP/2, and in the
// absolute form of HTTP/1, too.
func TestTargetGoesOnAsSentOverHTTP2(t *testing.T) {
	cert, key, roots := certificate(t)
	backend := backendFunc(t, func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.RequestURI) })
	addr, _ := startGateway(t, "-backends", backend, "-tls-cert", cert, "-tls-key", key)
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{RootCAs: roots}}
	defer transport.CloseIdleConnections()
	const sent, want = "/a%2Fb{c}?q=100%&a=1;b=2", "/a%2Fb%7Bc%7D?q=100%&a=1;b=2"
	resp, err := transport.RoundTrip((&http.Request{
		Method: "GET", Header: http.Header{}, URL: &url.URL{Scheme: "https", Host: "localhost:" + port, Opaque: sent},
	}).WithContext(t.Context()))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if got, err := io.ReadAll(resp.Body); string(got) != want || err != nil || resp.ProtoMajor != 2 {
		t.Errorf("%s: came as %q, %v, want %q", resp.Proto, got, err, want)
	}

	plain, _ := startGateway(t, "-backends", backend)
	if status, got := sendTarget(t, plain, "GET", "http://shop.example"+sent); status != 200 || got != want {
		t.Errorf("absolute form: %d, came as %q, want %q", status, got, want)
	}
	if status, got := sendTarget(t, plain, "GET", "http://shop.example?q={"); status != 200 || got != "/?q={" {
		t.Errorf("absolute form without a path: %d, came as %q", status, got)
	}
}

// sendTarget sends a target as it is; extra are further header lines.
func sendTarget(t *testing.T, addr, method, target string, extra ...string) (status int, body string) {
	t.Helper()
	head := strings.Join(append([]string{method + " " + target + " HTTP/1.0", "Host: shop.example"}, extra...), "\r\n")
	answer := testkit.Send(t, addr, head+"\r\n\r\n")
	line, body, _ := strings.Cut(answer, "\r\n\r\n")
	if _, err := fmt.Sscanf(line, "HTTP/1.0 %d", &status); err != nil {
		t.Fatalf("%q: %v", line, err)
	}
	return status, body
}
