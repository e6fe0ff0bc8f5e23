package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/foretier/foretier/balancer"
	"github.com/foretier/foretier/router"
)

// These tests are of visitors who would hold what all share.

// dialFrom connects to addr from a loopback address of its own, as another
// visitor does.
func dialFrom(t *testing.T, from, addr string) net.Conn {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}, Timeout: 5 * time.Second}
	conn, err := d.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// othersAreServed asks for pages that are not stored, several at once, and wants
// each of them.
func othersAreServed(t *testing.T, addr string) {
	t.Helper()
	var wg sync.WaitGroup
	for visitor := range 3 {
		wg.Go(func() {
			for i := range 6 {
				if status, body, err := get(t, fmt.Sprintf("http://%s/page?%d.%d", addr, visitor, i)); status != 200 || body != "page" {
					t.Errorf("another visitor's page: %d %q, %v", status, body, err)
				}
			}
		})
	}
	wg.Wait()
}

// TestSlowUploadsLeaveThePoolToOthers: 24 uploads at 10 places, a byte of each,
// announced in every way. nginx, which reads a body before it asks a server,
// serves all others.
func TestSlowUploadsLeaveThePoolToOthers(t *testing.T) {
	backend := backendFunc(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = io.WriteString(w, "page")
	})
	for name, head := range map[string]string{
		"2,000,000 bytes":   "Content-Length: 2000000\r\n\r\nx",
		"900,000, no byte":  "Content-Length: 900000\r\n\r\n",
		"chunked":           "Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n",
		"as gRPC":           "Content-Type: application/grpc\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n",
		"expects to go on":  "Content-Length: 2000000\r\nExpect: 100-continue\r\n\r\n",
		"not to be delayed": "Content-Length: 2000000\r\nX-Accel-Buffering: no\r\n\r\nx",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			addr, _ := startGateway(t, "-backends", backend, "-max-requests", "10")
			for range 24 {
				conn := dialFrom(t, "127.0.0.2", addr)
				if _, err := io.WriteString(conn, "POST /form HTTP/1.1\r\nHost: a\r\n"+head); err != nil {
					t.Fatal(err)
				}
			}
			time.Sleep(100 * time.Millisecond) // until they are where they would hold something
			othersAreServed(t, addr)
		})
	}
}

// TestAbandonedFetchesLeaveThePoolToOthers: 24 visits of slow pages at 10 places,
// which end at once, by closed connections and by reset streams. nginx hands its
// server's place to the next as well.
func TestAbandonedFetchesLeaveThePoolToOthers(t *testing.T) {
	var asked atomic.Int64
	slow := make(chan struct{})
	t.Cleanup(func() { close(slow) })
	for _, c := range []struct {
		name  string
		begin bool // the header comes at once, and says that the page is stored
	}{{"before the header", false}, {"inside a page to be stored", true}} {
		backend := backendFunc(t, func(w http.ResponseWriter, r *http.Request) {
			if strings.HasPrefix(r.URL.Path, "/slow") {
				w.Header().Set("Cache-Control", "max-age=60")
				if asked.Add(1); c.begin {
					_, _ = io.WriteString(w, "pa")
					_ = http.NewResponseController(w).Flush()
				}
				select {
				case <-r.Context().Done():
				case <-slow:
				}
				return
			}
			w.Header().Set("Cache-Control", "no-store")
			_, _ = io.WriteString(w, "page")
		})
		for proto, to := range protocolClients(t, "-backends", backend, "-max-requests", "10") {
			t.Run(c.name+", "+proto, func(t *testing.T) {
				asked.Store(0)
				const visits = 24
				for i := range visits {
					client, page := to(fmt.Sprintf("/slow/%s?%d", url.PathEscape(proto), i))
					ctx, leave := context.WithCancel(t.Context())
					r, err := http.NewRequestWithContext(ctx, "GET", page, nil)
					if err != nil {
						t.Fatal(err)
					}
					done := make(chan struct{})
					go func() {
						defer close(done)
						if res, err := client.Do(r); err == nil {
							_, _ = io.Copy(io.Discard, res.Body) // is cut off
							_ = res.Body.Close()
						}
					}()
					for end := time.Now().Add(20 * time.Second); asked.Load() <= int64(i); time.Sleep(time.Millisecond) {
						if time.Now().After(end) {
							t.Fatalf("the backend was asked %d times: its places are taken", asked.Load())
						}
					}
					leave()
					<-done
				}
				for i := range 18 {
					client, page := to(fmt.Sprintf("/page?%d", i))
					res, err := client.Get(page)
					if err != nil {
						t.Fatal(err)
					}
					body, err := io.ReadAll(res.Body)
					_ = res.Body.Close()
					if res.StatusCode != 200 || string(body) != "page" || err != nil {
						t.Errorf("another visitor's page: %d %q, %v", res.StatusCode, body, err)
					}
				}
			})
		}
	}
}

// TestSlowReadersLeaveThePoolToOthers: 24 visits of a page of 8 MB at 10 places, of
// one visitor who takes nothing of it, of which kernels take 3 MB. nginx, which puts on the disk what a client
// does not take (proxy_max_temp_file_size), serves all others.
func TestSlowReadersLeaveThePoolToOthers(t *testing.T) {
	const readers, size = 24, 8 << 20
	for kind, length := range map[string]string{"with a length": strconv.Itoa(size), "without one": ""} {
		backend := backendFunc(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Cache-Control", "no-store")
			if r.URL.Path != "/large" {
				_, _ = io.WriteString(w, "page")
				return
			}
			if length != "" {
				w.Header().Set("Content-Length", length)
			}
			for range size / len(noise) {
				if _, err := w.Write(noise); err != nil {
					return
				}
			}
		})
		for name, flags := range map[string][]string{"cache": nil, "no cache": {"-cache", "0"}} {
			t.Run(kind+", "+name, func(t *testing.T) {
				t.Parallel()
				addr, _ := startGateway(t, append(flags, "-backends", backend, "-max-requests", "10")...)
				var last net.Conn
				for i := range readers {
					from := "127.0.0.2"
					if i == readers-1 {
						from = "127.0.0.3" // else it has its turn behind all others of its client
					}
					last = dialFrom(t, from, addr)
					if i < readers-1 { // else its kernel would take the most of the page
						_ = last.(*net.TCPConn).SetReadBuffer(4 << 10)
					}
					if _, err := fmt.Fprintf(last, "GET /large?%d HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", i); err != nil {
						t.Fatal(err)
					}
				}
				time.Sleep(100 * time.Millisecond) // until they are where they would hold something
				othersAreServed(t, addr)
				res, err := http.ReadResponse(bufio.NewReader(last), nil)
				if err != nil {
					t.Fatal(err)
				}
				if n, err := io.Copy(io.Discard, res.Body); n != size || err != nil || res.StatusCode != 200 {
					t.Errorf("whoever takes it after all gets %d, %d bytes, %v", res.StatusCode, n, err)
				}
			})
		}
	}
}

// TestSlowReadersOfEveryProtocol get all that they were sent, from servers of both
// protocols, whose places others have meanwhile: of a page, of a part of it, and
// of one whose coding is its server's.
func TestSlowReadersOfEveryProtocol(t *testing.T) {
	page := bytes.Repeat(noise, 8<<20/len(noise))
	h := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		switch r.URL.Path {
		case "/page":
			_, _ = io.WriteString(w, "page")
		case "/coded":
			w.Header().Set("Content-Encoding", "gzip") // says it
			_, _ = w.Write(page)
		default:
			http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(page))
		}
	}
	for name, backend := range map[string]string{"HTTP/1.1": backendFunc(t, h), "HTTP/2": h2cBackend(t, h)} {
		for proto, to := range protocolClients(t, "-backends", backend, "-max-requests", "4", "-cache", "0", "-compress", "off") {
			t.Run(proto+" to "+name, func(t *testing.T) {
				type reader struct {
					res  *http.Response
					want []byte
				}
				var readers []reader
				for i := range 6 {
					path, want := "/large", page
					if i%3 == 1 {
						path = "/coded"
					}
					client, url := to(path)
					r, err := http.NewRequest("GET", url, nil)
					if err != nil {
						t.Fatal(err)
					}
					r.Header.Set("Accept-Encoding", "gzip")
					if i%3 == 2 {
						r.Header.Set("Range", "bytes=1000-")
						want = page[1000:]
					}
					res, err := client.Do(r)
					if err != nil {
						t.Fatal(err)
					}
					defer res.Body.Close()
					readers = append(readers, reader{res, want})
				}
				for range 8 {
					client, url := to("/page")
					res, err := client.Get(url)
					if err != nil {
						t.Fatal(err)
					}
					if body, err := io.ReadAll(res.Body); res.StatusCode != 200 || string(body) != "page" || err != nil {
						t.Errorf("another visitor's page: %d %q, %v", res.StatusCode, body, err)
					}
					_ = res.Body.Close()
				}
				for i, r := range readers {
					if got, err := io.ReadAll(r.res.Body); err != nil || !bytes.Equal(got, r.want) {
						t.Errorf("reader %d: %d, %d of %d bytes, %v", i, r.res.StatusCode, len(got), len(r.want), err)
					}
				}
			})
		}
	}
}

// noise is a piece of a page.
var noise = bytes.Repeat([]byte("0123456789abcde\n"), 4<<10)

// A front is a gateway as one visitor or another sees it: over TLS as a rule, which
// has both versions of HTTP.
type front struct {
	addr string
	tls  *tls.Config // nil: without
}

func (f front) url() string {
	if f.tls == nil {
		return "http://" + f.addr
	}
	return "https://" + f.addr
}

// startFront serves what the flags say until the test ends.
func startFront(t *testing.T, flags ...string) front {
	t.Helper()
	cert, key, roots := certificate(t)
	addr, _ := startGateway(t, append(flags, "-tls-cert", cert, "-tls-key", key)...)
	return front{addr, &tls.Config{RootCAs: roots, ServerName: "localhost"}}
}

// client returns a visitor of its own, over one version of HTTP.
func (f front) client(t *testing.T, from string, h2 bool) *http.Client {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}, Timeout: 5 * time.Second}
	transport := &http.Transport{DialContext: d.DialContext, TLSClientConfig: f.tls.Clone(), Protocols: new(http.Protocols)}
	transport.Protocols.SetHTTP1(!h2)
	transport.Protocols.SetHTTP2(h2)
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: 20 * time.Second}
}

// askAs returns the status and the body of an answer.
func askAs(client *http.Client, method, page string, body io.Reader) (int, string, error) {
	r, err := http.NewRequest(method, page, body)
	if err != nil {
		return 0, "", err
	}
	res, err := client.Do(r)
	if err != nil {
		return 0, "", err
	}
	defer res.Body.Close()
	got, err := io.ReadAll(res.Body)
	return res.StatusCode, string(got), err
}

// TestSlowPagesLeaveThePoolToOthers: one visitor's 100 GETs of a slow page at 40
// places of two backends, over as many connections or over one.
func TestSlowPagesLeaveThePoolToOthers(t *testing.T) {
	for name, h2 := range map[string]bool{"HTTP/1.1": false, "HTTP/2": true} {
		t.Run(name, func(t *testing.T) {
			slow := make(chan struct{})
			var open atomic.Int64
			serve := func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Cache-Control", "no-store")
				if r.URL.Path == "/slow" {
					open.Add(1)
					defer open.Add(-1)
					<-slow
				}
				_, _ = io.WriteString(w, "page")
			}
			f := startFront(t, "-backends", backendFunc(t, serve)+","+backendFunc(t, serve), "-max-requests", "20")
			one, other := f.client(t, "127.0.0.2", h2), f.client(t, "127.0.0.3", h2)
			var pages sync.WaitGroup
			for i := range 100 {
				pages.Go(func() { _, _, _ = askAs(one, "GET", fmt.Sprint(f.url(), "/slow?", i), nil) })
			}
			defer pages.Wait()
			defer close(slow)
			for deadline := time.Now().Add(5 * time.Second); open.Load() < 35 && time.Now().Before(deadline); {
				time.Sleep(10 * time.Millisecond)
			}
			for i := range 58 {
				if status, body, err := askAs(other, "GET", fmt.Sprint(f.url(), "/page?", i), nil); status != 200 || body != "page" {
					t.Fatalf("another visitor's page: %d %q, %v", status, body, err)
				}
			}
			if n := open.Load(); n != 35 {
				t.Errorf("one visitor has %d of 40 places, want 35", n)
			}
		})
	}
}

// TestSlowUploadsLeaveARuleToOthers: a rule that serves four requests at once goes
// on doing so, and no more, beside uploads of which nothing comes.
func TestSlowUploadsLeaveARuleToOthers(t *testing.T) {
	for name, head := range map[string]string{
		"announced": "Content-Length: 2000000\r\n\r\n",
		"chunked":   "Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n",
		"as gRPC":   "Content-Type: application/grpc\r\nTransfer-Encoding: chunked\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var now, most atomic.Int64
			pool, err := balancer.New(balancer.Backends(backendFunc(t, func(w http.ResponseWriter, r *http.Request) {
				n := now.Add(1)
				defer now.Add(-1)
				for was := most.Load(); n > was && !most.CompareAndSwap(was, n); was = most.Load() {
				}
				_, _ = io.Copy(io.Discard, r.Body)
				time.Sleep(5 * time.Millisecond) // so that requests overlap, if they are let
				_, _ = io.WriteString(w, "page")
			})), balancer.Options{Limits: balancer.Limits{InFlight: 100}})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = pool.Close() })
			rules, err := router.New(router.Options{}, router.Rule{Name: "forms", To: pool, Limit: router.Limit{InFlight: 4}})
			if err != nil {
				t.Fatal(err)
			}
			srv := httptest.NewServer(rules)
			t.Cleanup(srv.Close)
			f := front{addr: srv.Listener.Addr().String()}
			for range 24 {
				conn := dialFrom(t, "127.0.0.2", f.addr)
				if _, err := io.WriteString(conn, "POST /form HTTP/1.1\r\nHost: a\r\n"+head); err != nil {
					t.Fatal(err)
				}
			}
			time.Sleep(100 * time.Millisecond) // until they are where they would hold something
			other := f.client(t, "127.0.0.3", false)
			for i := range 10 {
				if status, body, err := askAs(other, "POST", fmt.Sprint(f.url(), "/?", i), strings.NewReader("an order")); status != 200 || body != "page" {
					t.Errorf("another visitor's order: %d %q, %v", status, body, err)
				}
			}
			codes := make(chan int, 40)
			for range cap(codes) {
				go func() {
					status, _, _ := askAs(other, "POST", f.url(), strings.NewReader("an order"))
					codes <- status
				}()
			}
			got := map[int]int{}
			for range cap(codes) {
				got[<-codes]++
			}
			if got[200] == 0 || got[200]+got[429] != cap(codes) || most.Load() > 4 {
				t.Errorf("of 40 at once: %v, %d at a time, want 200 and 429, and four", got, most.Load())
			}
		})
	}
}
