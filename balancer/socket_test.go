package balancer

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/foretier/foretier/health"
	"github.com/foretier/foretier/internal/testkit"
)

// socketServer serves h at a socket until it is closed.
func socketServer(t *testing.T, path string, h http.Handler) *http.Server {
	t.Helper()
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: h}
	go func() { _ = srv.Serve(l) }() // it ends when the test does
	t.Cleanup(func() { srv.Close() })
	return srv
}

// TestSocketsOfThisMachine are backends like others: probed, asked, upgraded, gone and
// back again. Nothing of where they are goes on to them.
func TestSocketsOfThisMachine(t *testing.T) {
	dir, err := os.MkdirTemp("", "s") // a test's own is too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	path := filepath.Join(dir, "shop.sock")
	shop := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/healthz":
		case "/echo":
			c, rw, err := w.(http.Hijacker).Hijack()
			if err != nil {
				return
			}
			defer c.Close()
			fmt.Fprintf(rw, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
			_ = rw.Flush()
			_, _ = io.Copy(c, rw)
		default:
			body, _ := io.ReadAll(r.Body)
			fmt.Fprintf(w, "%s %s %s %s", r.Method, r.Host, r.RequestURI, body)
		}
	})
	first := socketServer(t, path, shop)
	p, err := New(Backends("unix://"+path), Options{Probe: &health.HTTPProbe{Path: "/healthz", Host: "shop.example"}})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	go p.Run(t.Context())
	ctx, cancel := context.WithTimeout(t.Context(), testkit.Patience)
	defer cancel()
	if err := p.WaitReady(ctx); err != nil {
		t.Fatal(err)
	}
	ask := func(method, body string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(method, "http://shop.example/a%2Fb?c", strings.NewReader(body))
		w := httptest.NewRecorder()
		p.ServeHTTP(w, r)
		return w
	}
	for _, c := range [][2]string{{"GET", ""}, {"POST", "order"}, {"PUT", strings.Repeat("x", 1<<20)}} {
		if w := ask(c[0], c[1]); w.Code != 200 || w.Body.String() != c[0]+" shop.example /a%2Fb?c "+c[1] {
			t.Errorf("%s: %d %.100s", c[0], w.Code, w.Body)
		}
	}
	if s := p.Backends()[0]; s.Name != path || s.State != health.Up {
		t.Errorf("%s is %v", s.Name, s.State)
	}

	front := httptest.NewServer(p)
	defer front.Close()
	conn := testkit.Dial(t, front.Listener.Addr().String())
	fmt.Fprintf(conn, "GET /echo HTTP/1.1\r\nHost: shop.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	br := bufio.NewReader(conn)
	res, err := http.ReadResponse(br, nil)
	if err != nil || res.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("%v, %v", res, err)
	}
	fmt.Fprint(conn, "hello")
	if got, err := br.Peek(5); string(got) != "hello" {
		t.Errorf("%q, %v", got, err)
	}
	conn.Close()

	if err := first.Close(); err != nil { // the file goes with it
		t.Fatal(err)
	}
	if w := ask("GET", ""); w.Code != http.StatusBadGateway && w.Code != http.StatusServiceUnavailable {
		t.Errorf("without a server: %d", w.Code)
	}
	socketServer(t, path, shop)
	testkit.Within(t, testkit.Patience, "it serves again", func() bool { return ask("GET", "").Code == 200 })

	for name, probe := range map[string]health.Probe{"TCP": health.TCP(), "HTTP": health.HTTP("/healthz")} {
		if res, err := probe.Probe(t.Context(), health.Target{URL: p.view.Snap.Load().All[0].Own.(*placed).url}); err != nil || res.State != health.Up {
			t.Errorf("%s: %+v, %v", name, res, err)
		}
	}
}
