package balancer

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/foretier/foretier/internal/testkit"
)

// secured runs a TLS server without HTTP/2 that leaves each connection to
// serve, and returns its URL, the configuration that trusts it, and how many
// connections there were.
func secured(t *testing.T, serve func(net.Conn, *bufio.Reader)) (url string, config *tls.Config, conns *atomic.Int32) {
	t.Helper()
	pair := httptest.NewUnstartedServer(nil)
	pair.StartTLS()
	certificates, config := pair.TLS.Certificates, pair.Client().Transport.(*http.Transport).TLSClientConfig
	pair.Close()
	conns = new(atomic.Int32)
	l := tls.NewListener(testkit.Listen(t), &tls.Config{Certificates: certificates, DynamicRecordSizingDisabled: true})
	addr := testkit.Accept(t, l, func(c net.Conn) {
		conns.Add(1)
		serve(c, bufio.NewReader(c))
	})
	return "https://" + addr, config, conns
}

// answers serves requests with the same response, a record for each piece,
// until the client hangs up.
func answers(pieces ...string) func(net.Conn, *bufio.Reader) {
	return func(c net.Conn, r *bufio.Reader) {
		for {
			req, err := http.ReadRequest(r)
			if err != nil {
				return
			}
			if _, err = io.Copy(io.Discard, req.Body); err != nil {
				return
			}
			for _, piece := range pieces {
				if _, err := io.WriteString(c, piece); err != nil {
					return
				}
			}
		}
	}
}

// A backend over TLS gets what the pool's own connections have: its word on
// keep-alive counts, and what it closed meanwhile is no 502.
func TestSecureBackends(t *testing.T) {
	const ok = "Content-Length: 2\r\n\r\nok"
	cases := map[string]struct {
		serve func(net.Conn, *bufio.Reader)
		conns int32
	}{
		"kept":                  {answers("HTTP/1.1 200 OK\r\n" + ok), 1},
		"not kept, by its word": {answers("HTTP/1.1 200 OK\r\nKeep-Alive: timeout=1\r\n" + ok), 20},
		"closed without a word": {func(c net.Conn, r *bufio.Reader) {
			if _, err := http.ReadRequest(r); err == nil {
				_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\n"+ok)
			}
		}, 20},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			url, config, conns := secured(t, c.serve)
			p := newPool(t, Backends(url), Options{TLS: config, Retries: Retries{Max: -1}})
			for i := range 20 {
				if w := get(p, "GET", "/", nil); w.Code != 200 || w.Body.String() != "ok" {
					t.Fatalf("request %d: %d %q", i, w.Code, w.Body)
				}
			}
			p.Close()
			if n := conns.Load(); n != c.conns {
				t.Errorf("%d connections, want %d", n, c.conns)
			}
		})
	}
}

// What a backend says beyond its answer, in the same TLS record, answers
// nobody's request.
func TestSecureBackendThatSaysTooMuch(t *testing.T) {
	body := strings.Repeat("x", 15_000)
	url, config, _ := secured(t, answers(
		fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", len(body)),
		body+"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"))
	p := newPool(t, Backends(url), Options{TLS: config})
	defer p.Close()
	for range 3 {
		if w := get(p, "GET", "/", nil); w.Code != 200 || w.Body.String() != body {
			t.Errorf("%d %.20q", w.Code, w.Body)
		}
	}
}

// A certificate that nobody vouches for is a 502 with its cause, and nothing
// was sent.
func TestSecureBackendNobodyTrusts(t *testing.T) {
	var asked atomic.Int32
	url, _, _ := secured(t, func(_ net.Conn, r *bufio.Reader) {
		if _, err := http.ReadRequest(r); err == nil {
			asked.Add(1)
		}
	})
	var cause error
	p := newPool(t, Backends(url), Options{Error: func(w http.ResponseWriter, _ *http.Request, err error) {
		cause = err
		w.WriteHeader(502)
	}})
	defer p.Close()
	if w := get(p, "POST", "/", strings.NewReader("order")); w.Code != 502 || asked.Load() != 0 || cause == nil || !strings.Contains(cause.Error(), "certificate") {
		t.Errorf("%d, asked %d times, cause %v", w.Code, asked.Load(), cause)
	}
}

// A backend that learns HTTP/2, and then forgets it, is served throughout.
func TestSecureBackendChangesItsMind(t *testing.T) {
	var proto atomic.Value
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { proto.Store(r.Proto) })
	first := httptest.NewUnstartedServer(h)
	first.StartTLS()
	addr := first.Listener.Addr().String()
	config := first.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
	config.NextProtos = nil
	p := newPool(t, Backends("https://"+addr), Options{TLS: config, Error: func(w http.ResponseWriter, _ *http.Request, err error) { t.Log(err); w.WriteHeader(502) }})
	defer p.Close()
	server := first
	for _, want := range []string{"HTTP/1.1", "HTTP/2.0", "HTTP/1.1"} {
		if want != "HTTP/1.1" || proto.Load() != nil {
			server.Close()
			l, err := net.Listen("tcp", addr)
			if err != nil {
				t.Fatal(err)
			}
			server = httptest.NewUnstartedServer(h)
			server.Listener.Close()
			server.Listener, server.EnableHTTP2 = l, want == "HTTP/2.0"
			server.StartTLS()
		}
		for range 2 {
			if w := get(p, "GET", "/", nil); w.Code != 200 || proto.Load() != want {
				t.Errorf("%d over %v, want %s", w.Code, proto.Load(), want)
			}
		}
	}
	server.Close()
}

// A backend that chooses HTTP/2 is asked for upgrades over HTTP/1.1, before and
// after it has chosen.
func TestUpgradeAtABackendOfHTTP2(t *testing.T) {
	srv := perConn(t, true, func(_ *sync.Map, w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") == "" {
			fmt.Fprint(w, r.Proto)
			return
		}
		c, buf, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		fmt.Fprint(buf, "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nhello")
		_ = buf.Flush()
	})
	config := srv.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
	config.NextProtos = nil
	p := newPool(t, Backends(srv.URL), Options{TLS: config})
	for i := range 2 {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header.Set("Connection", "Upgrade")
		r.Header.Set("Upgrade", "websocket")
		res, err := p.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(res.Body); res.StatusCode != 101 || string(got) != "hello" {
			t.Errorf("upgrade %d: %d %q, %v", i, res.StatusCode, got, err)
		}
		_ = res.Body.Close()
		if got := get(p, "GET", "/", nil).Body.String(); got != "HTTP/2.0" {
			t.Errorf("a page goes over %s", got)
		}
	}
}
