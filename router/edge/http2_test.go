package edge_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/foretier/foretier/balancer"
	"github.com/foretier/foretier/cache"
	"github.com/foretier/foretier/health"
	"github.com/foretier/foretier/internal/testkit"
	"github.com/foretier/foretier/router/edge"
)

// plainHTTP2 is a client that speaks HTTP/2 without TLS.
func plainHTTP2(tb testing.TB) *http.Client {
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	transport := &http.Transport{Protocols: protocols, DisableCompression: true}
	tb.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

// TestInstantOverHTTP2: what is answered from the head is what the chain has answered, over
// either version, whichever has taught it, and its line says which version it was.
func TestInstantOverHTTP2(t *testing.T) {
	var log lines
	s := newShop(t, edge.Options{PlainHTTP2: true, Logger: log.Logger()}, cache.Options{})
	client := plainHTTP2(t)
	ask := func(path string, fields ...string) (*http.Response, []byte) {
		t.Helper()
		r, _ := http.NewRequest("GET", "http://"+s.srv.Addr().String()+path, nil)
		for i := 0; i < len(fields); i += 2 {
			r.Header.Set(fields[i], fields[i+1])
		}
		res, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		body, err := io.ReadAll(res.Body)
		if err != nil || res.ProtoMajor != 2 {
			t.Fatal(res.Proto, err)
		}
		for _, name := range []string{"Date", "Age", "X-Request-Id", "Cache-Status"} {
			if res.Header.Get(name) == "" && (name != "Age" || strings.Contains(res.Header.Get("Cache-Status"), "hit")) {
				t.Errorf("%s: no %s", path, name)
			}
			if name != "Cache-Status" {
				res.Header.Del(name)
			}
		}
		return res, body
	}
	for _, size := range []int{0, 1, 1000, 16 << 10, 16<<10 + 1, 32 << 10, 32<<10 + 1, 100 << 10} {
		path := fmt.Sprintf("/%d", size)
		before := s.instant()
		_, first := ask(path)
		chain, second := ask(path) // a hit, by the chain
		for range 3 {
			res, body := ask(path)
			if !bytes.Equal(body, first) || !bytes.Equal(body, second) || len(body) != size {
				t.Fatalf("%s: %d bytes", path, len(body))
			}
			if got, want := shown(res), shown(chain); got != want {
				t.Errorf("%s: got\n%s\nwant\n%s", path, got, want)
			}
		}
		if n := s.instant() - before; n != 3 && size <= 32<<10 || n != 0 && size > 32<<10 {
			t.Errorf("%s: %d answers from the head", path, n)
		}
	}
	before := s.instant()
	c := testkit.Dial(t, s.srv.Addr().String())
	defer c.Close()
	fmt.Fprintf(c, "GET /1000 HTTP/1.1\r\nHost: %s\r\n\r\n", s.srv.Addr())
	if res, err := http.ReadResponse(bufio.NewReader(c), nil); err != nil || res.StatusCode != 200 || s.instant()-before != 1 {
		t.Errorf("what HTTP/2 has taught is not known over HTTP/1.1: %v, %v", res, err)
	}
	if _, body := ask("/1000", "If-None-Match", `"none"`); len(body) != 1000 {
		t.Errorf("a condition that does not hold: %d bytes", len(body))
	}
	protos := map[string]int{}
	for _, line := range log.all(t) {
		if line["msg"] == "request" {
			protos[fmt.Sprint(line["proto"])]++
		}
	}
	if protos["HTTP/2.0"] != 8*5+1 || protos["HTTP/1.1"] != 1 {
		t.Errorf("lines by version: %v", protos)
	}
}

// shown is what a header says, but for how long a stored response is fresh.
func shown(res *http.Response) string {
	var b strings.Builder
	h := res.Header.Clone()
	status, _, _ := strings.Cut(h.Get("Cache-Status"), ";")
	h.Set("Cache-Status", status)
	_ = h.Write(&b) // which a builder takes
	return res.Status + "\n" + b.String()
}

// TestPlainHTTP2IsServedWhereItIsAllowed.
func TestPlainHTTP2IsServedWhereItIsAllowed(t *testing.T) {
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.Proto, " ", edge.Client(r)) })
	srv := serve(t, h, edge.Options{PlainHTTP2: true})
	res, err := plainHTTP2(t).Get("http://" + srv.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if body, err := io.ReadAll(res.Body); string(body) != "HTTP/2.0 127.0.0.1" || err != nil {
		t.Errorf("%q, %v", body, err)
	}
	srv = serve(t, h, edge.Options{})
	if res, err := plainHTTP2(t).Get("http://" + srv.Addr().String()); err == nil {
		res.Body.Close()
		t.Error("served though it is not allowed")
	}
}

// TestClientsOfHTTP2CondemnNobody: uploads and answers that a client gives up, and streams
// that it resets, are its own fault, and no backend's; and nothing of them is in hand.
func TestClientsOfHTTP2CondemnNobody(t *testing.T) {
	arrived := make(chan bool, 100)
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		arrived <- true
		switch r.URL.Path {
		case "/upload":
			io.Copy(io.Discard, r.Body)
		case "/hang":
			<-r.Context().Done()
		case "/large":
			w.Header().Set("Content-Length", "100000000")
			for b := make([]byte, 1<<20); ; {
				if _, err := w.Write(b); err != nil {
					return
				}
			}
		}
	}))
	defer backend.Close()
	pool, err := balancer.New(balancer.Backends(backend.URL), balancer.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	srv := serve(t, pool, edge.Options{PlainHTTP2: true})
	client := plainHTTP2(t)
	for range 20 {
		for _, path := range []string{"/upload", "/hang", "/large"} {
			ctx, cancel := context.WithCancel(t.Context())
			in, out := io.Pipe()
			method, body := "GET", io.Reader(nil)
			if path == "/upload" {
				method, body = "POST", in
				go out.Write(make([]byte, 2<<20)) // more than is read before a backend is picked; it ends with the request
			}
			r, err := http.NewRequestWithContext(ctx, method, "http://"+srv.Addr().String()+path, body)
			if err != nil {
				t.Fatal(err)
			}
			go func() {
				<-arrived
				if path != "/large" {
					cancel()
				}
			}()
			if res, err := client.Do(r); err == nil {
				io.CopyN(io.Discard, res.Body, 1<<20)
				cancel()
				res.Body.Close()
			}
			cancel()
			in.Close()
		}
	}
	testkit.Within(t, testkit.Patience, "nothing is in hand", func() bool {
		return pool.Backends()[0].InFlight == 0 && level(srv, "requests_in_flight") == 0
	})
	if b := pool.Backends()[0]; b.State != health.Up || b.Failures != 0 {
		t.Errorf("the backend is %v after %d failures of %d: %s", b.State, b.Failures, b.Requests, b.Why)
	}
}
