package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/foretier/foretier/internal/testkit"
)

// These tests end requests and answers in the middle, on either side.

// protocolClients returns a client for each protocol that the gateway speaks,
// and where it finds it.
func protocolClients(t *testing.T, flags ...string) map[string]func(path string) (*http.Client, string) {
	t.Helper()
	cert, key, roots := certificate(t)
	plain, _ := startGateway(t, flags...)
	secure, _ := startGateway(t, append(flags, "-tls-cert", cert, "-tls-key", key)...)
	_, port, err := net.SplitHostPort(secure)
	if err != nil {
		t.Fatal(err)
	}
	client := func(roots *x509.CertPool, h2 bool) *http.Client {
		transport := &http.Transport{Protocols: new(http.Protocols), TLSClientConfig: &tls.Config{RootCAs: roots}}
		transport.Protocols.SetHTTP1(!h2)
		transport.Protocols.SetHTTP2(h2)
		t.Cleanup(transport.CloseIdleConnections)
		return &http.Client{Transport: transport, Timeout: 20 * time.Second}
	}
	h1, tls1, h2 := client(nil, false), client(roots, false), client(roots, true)
	return map[string]func(string) (*http.Client, string){
		"HTTP/1.1":          func(path string) (*http.Client, string) { return h1, "http://" + plain + path },
		"HTTP/1.1 over TLS": func(path string) (*http.Client, string) { return tls1, "https://localhost:" + port + path },
		"HTTP/2":            func(path string) (*http.Client, string) { return h2, "https://localhost:" + port + path },
	}
}

// h2cBackend serves h over HTTP/2 without TLS.
func h2cBackend(t *testing.T, h http.HandlerFunc) (url string) {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.Config.Protocols = new(http.Protocols)
	s.Config.Protocols.SetUnencryptedHTTP2(true)
	s.Config.Protocols.SetHTTP1(true)
	s.Start()
	t.Cleanup(s.Close)
	return "h2c://" + strings.TrimPrefix(s.URL, "http://")
}

// TestUploadsThatEndEarly: the backend answers before it has read an upload, or
// closes, or the visitor leaves, over every protocol on either side. The
// process lives, and what comes afterwards is served. It says most with -race.
func TestUploadsThatEndEarly(t *testing.T) {
	answer := func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).EnableFullDuplex() // else it reads before it answers
		switch r.URL.Path {
		case "/refuse":
			w.WriteHeader(http.StatusUnauthorized)
		case "/refuse-later":
			_, _ = io.ReadFull(r.Body, make([]byte, 100))
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = io.WriteString(w, "no")
		case "/close":
			breakOff(w)
		case "/begin":
			_ = http.NewResponseController(w).Flush()
			_, _ = io.ReadFull(r.Body, make([]byte, 100))
			breakOff(w)
		case "/page":
			_, _ = io.WriteString(w, "page")
		default:
			_, _ = io.Copy(io.Discard, r.Body)
		}
	}
	for backendProto, backend := range map[string]string{"HTTP/1": backendFunc(t, answer), "h2c": h2cBackend(t, answer)} {
		for proto, to := range protocolClients(t, "-backends", backend) {
			t.Run(proto+" to "+backendProto, func(t *testing.T) {
				var wg sync.WaitGroup
				end := time.Now().Add(time.Second)
				for range 8 {
					wg.Go(func() {
						for time.Now().Before(end) {
							path := []string{"/refuse", "/refuse-later", "/close", "/begin", "/leave"}[rand.IntN(5)]
							c, url := to(path)
							ctx, leave := context.WithCancel(context.Background())
							pr, pw := io.Pipe()
							wg.Go(func() { // slowly, for ever
								defer pw.CloseWithError(context.Canceled) // net/http's client waits for it
								for ctx.Err() == nil {
									if _, err := pw.Write(make([]byte, 50)); err != nil {
										return
									}
									time.Sleep(time.Duration(rand.IntN(4)) * time.Millisecond)
								}
							})
							r, err := http.NewRequestWithContext(ctx, "POST", url, pr)
							if err != nil {
								t.Error(err)
							}
							if path == "/leave" {
								time.AfterFunc(time.Duration(rand.IntN(20))*time.Millisecond, leave)
							}
							if res, err := c.Do(r); err == nil {
								if want := map[string]int{"/refuse": 401, "/refuse-later": 401, "/close": 502}[path]; want != 0 && res.StatusCode != want {
									t.Errorf("%s: got %d", path, res.StatusCode)
								}
								_, _ = io.Copy(io.Discard, res.Body) // may be cut off
								res.Body.Close()
							} else if path == "/refuse" || path == "/refuse-later" {
								t.Errorf("%s: %v", path, err)
							}
							leave()
							pr.Close()
						}
					})
				}
				wg.Wait()
				for range 20 {
					c, url := to("/page")
					res, err := c.Get(url)
					if err != nil {
						t.Fatal(err)
					}
					body, err := io.ReadAll(res.Body)
					res.Body.Close()
					if string(body) != "page" || err != nil {
						t.Fatalf("afterwards: %d %q, %v", res.StatusCode, body, err)
					}
				}
			})
		}
	}
}

// breakOff ends a backend's answer at once; net/http's server would read on.
func breakOff(w http.ResponseWriter) {
	if conn, _, err := http.NewResponseController(w).Hijack(); err == nil {
		conn.Close()
	}
	panic(http.ErrAbortHandler) // over HTTP/2, and for HTTP/1 once it is closed
}

// TestAnOrderWhoseAnswerBreaksOff is answered 502 with the tier's page: clients
// that get nothing send it again.
func TestAnOrderWhoseAnswerBreaksOff(t *testing.T) {
	answers := map[string]string{
		"no byte":        "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n",
		"six bytes":      "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n<html>",
		"half of 20,000": "HTTP/1.1 200 OK\r\nContent-Length: 20000\r\n\r\n" + strings.Repeat("x", 10000),
		"a redirect":     "HTTP/1.1 302 Found\r\nLocation: /thanks\r\nSet-Cookie: order=1\r\nContent-Length: 100\r\n\r\n<html>",
		"chunks":         "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6\r\n<html>\r\n",
	}
	for name, answer := range answers {
		for _, slow := range []bool{false, true} {
			for _, cache := range []string{"0", "16MiB"} {
				backend, orders := testkit.HTTPBackend(t, func(c net.Conn, r *http.Request) {
					testkit.Says(answer)(c, r)
					if slow { // it closes only after what may be held back has gone on
						time.Sleep(50 * time.Millisecond) // a real clock's
					}
				})
				for proto, to := range protocolClients(t, "-backends", backend, "-cache", cache) {
					orders.Store(0)
					c, url := to("/order")
					res, err := c.Post(url, "text/plain", strings.NewReader("order"))
					if err != nil {
						t.Errorf("%s over %s, slow %t, cache %s: %v", name, proto, slow, cache, err)
						continue
					}
					_, err = io.ReadAll(res.Body)
					res.Body.Close()
					if slow && name == "chunks" { // what has no length goes on when it comes
						if res.StatusCode != 200 || err == nil {
							t.Errorf("%s over %s, slow %t, cache %s: got %d, %v", name, proto, slow, cache, res.StatusCode, err)
						}
					} else if res.StatusCode != 502 || err != nil || res.Header.Get("Set-Cookie") != "" {
						t.Errorf("%s over %s, slow %t, cache %s: got %d %v, %v", name, proto, slow, cache, res.StatusCode, res.Header, err)
					}
					if n := orders.Load(); n != 1 {
						t.Errorf("%s over %s: ordered %d times", name, proto, n)
					}
				}
			}
		}
	}
}

// TestAChunkedUploadThatIsRefused: its client sees why, although it sends on
// for a while before it looks.
func TestAChunkedUploadThatIsRefused(t *testing.T) {
	backend := backendFunc(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/refuse" {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		_, _ = io.Copy(io.Discard, r.Body)
	})
	cert, key, roots := certificate(t)
	plain, _ := startGateway(t, "-backends", backend)
	secure, _ := startGateway(t, "-backends", backend, "-tls-cert", cert, "-tls-key", key)
	for path, want := range map[string]int{"/large": 413, "/refuse": 403} {
		for name, dial := range map[string]func() (net.Conn, error){
			"HTTP": func() (net.Conn, error) { return net.Dial("tcp", plain) },
			"HTTPS": func() (net.Conn, error) {
				return tls.Dial("tcp", secure, &tls.Config{RootCAs: roots, ServerName: "localhost", NextProtos: []string{"http/1.1"}})
			},
		} {
			c, err := dial()
			if err != nil {
				t.Fatal(err)
			}
			_ = c.SetDeadline(time.Now().Add(20 * time.Second))
			fmt.Fprintf(c, "POST %s HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n", path)
			chunk := "8000\r\n" + strings.Repeat("x", 0x8000) + "\r\n"
			fast := 0
			if want == 413 {
				fast = 2048 // 64 MiB, as much as may come
			}
			for i := range fast + 100 { // and 3 MiB more
				if _, err := io.WriteString(c, chunk); err != nil {
					t.Errorf("%s over %s: after %d chunks: %v", path, name, i, err)
					break
				}
				if i > fast {
					time.Sleep(2 * time.Millisecond)
				}
			}
			res, err := http.ReadResponse(bufio.NewReader(c), nil)
			if err != nil {
				t.Errorf("%s over %s: %v", path, name, err)
			} else if _, err := io.ReadAll(res.Body); res.StatusCode != want || err != nil {
				t.Errorf("%s over %s: got %s, %v", path, name, res.Status, err)
			}
			if err := c.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
				t.Error(err)
			}
		}
	}
}
