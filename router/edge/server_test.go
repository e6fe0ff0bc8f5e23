package edge_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/acme/autocert"

	"github.com/foretier/foretier/balancer"
	"github.com/foretier/foretier/cache"
	"github.com/foretier/foretier/health"
	"github.com/foretier/foretier/internal/testkit"
	"github.com/foretier/foretier/internal/transit"
	"github.com/foretier/foretier/router"
	"github.com/foretier/foretier/router/edge"
)

var loopback = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}

// lines is a log of JSON.
type lines struct{ testkit.Log }

// all returns the lines so far, decoded, but for those of the server's own life.
func (l *lines) all(tb testing.TB) (out []map[string]any) {
	tb.Helper()
	for line := range strings.Lines(l.String()) {
		var m map[string]any
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			tb.Fatal(err)
		}
		if m["msg"] != "serving" && m["msg"] != "draining" {
			out = append(out, m)
		}
	}
	return out
}

func (l *lines) Logger() *slog.Logger {
	return slog.New(slog.NewJSONHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

func TestRecordBehindATrustedProxy(t *testing.T) {
	type seen struct {
		client, scheme, id, xff, remote string
		vetted                          bool
	}
	for name, c := range map[string]struct {
		trusted []netip.Prefix
		fields  string
		want    seen
	}{
		"trusted":  {loopback, "X-Forwarded-For: 1.1.1.1, 192.0.2.9\r\nX-Forwarded-Proto: https\r\nX-Request-Id: abc-1\r\n", seen{"192.0.2.9", "https", "abc-1", "1.1.1.1, 192.0.2.9", "127.0.0.1", true}},
		"mapped":   {[]netip.Prefix{netip.MustParsePrefix("::ffff:127.0.0.0/104")}, "X-Forwarded-For: 192.0.2.9\r\nX-Forwarded-Proto: wss\r\nX-Request-Id: abc-1\r\n", seen{"192.0.2.9", "https", "abc-1", "192.0.2.9", "127.0.0.1", true}},
		"stranger": {nil, "X-Forwarded-For: 192.0.2.9\r\nX-Forwarded-Proto: https\r\nX-Request-Id: abc-1\r\n", seen{"127.0.0.1", "http", "", "", "127.0.0.1", true}},
		"bad id":   {loopback, "X-Request-Id: a b\r\n", seen{"127.0.0.1", "http", "", "", "127.0.0.1", true}},
	} {
		t.Run(name, func(t *testing.T) {
			var got seen
			h := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				rec := transit.From(r.Context())
				host, _, _ := net.SplitHostPort(r.RemoteAddr)
				got = seen{edge.Client(r).String(), rec.Scheme, rec.ID, r.Header.Get("X-Forwarded-For"), host, rec.Vetted}
				if r.Header.Get("X-Request-Id") != rec.ID {
					t.Errorf("backends get the id %q, the log %q", r.Header.Get("X-Request-Id"), rec.ID)
				}
			})
			srv := serve(t, h, edge.Options{Trusted: c.trusted})
			ask(t, srv.Addr().String(), "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"+c.fields+"\r\n")
			if c.want.id == "" && len(got.id) == 16 {
				got.id = ""
			}
			if got != c.want {
				t.Errorf("got %+v, want %+v", got, c.want)
			}
		})
	}
}

func TestSizes(t *testing.T) {
	srv := serve(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}), edge.Options{})
	field := func(n int) string { return "X-A: " + strings.Repeat("a", n-len("X-A: \r\n")) + "\r\n" }
	rest := len("Connection: close\r\n")
	for name, c := range map[string]struct {
		target, fields string
		want           int
	}{
		"target fits":        {"/" + strings.Repeat("a", 7999), "", 200},
		"target too long":    {"/" + strings.Repeat("a", 8000), "", 414},
		"header fits":        {"/", field(32<<10 - rest), 200},
		"header too large":   {"/", field(32<<10 - rest + 1), 431},
		"header huge":        {"/", field(1 << 20), 431},
		"both fit":           {"/" + strings.Repeat("a", 7999), field(32<<10 - rest), 200},
		"many small fields":  {"/", strings.Repeat("A: b\r\n", 6000), 431},
		"target in the form": {"http://a/" + strings.Repeat("a", 8000), "", 414},
	} {
		if got := ask(t, srv.Addr().String(), "GET "+c.target+" HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"+c.fields+"\r\n"); got != c.want {
			t.Errorf("%s: got %d, want %d", name, got, c.want)
		}
	}
}

func TestNoLimits(t *testing.T) {
	srv := serve(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}), edge.Options{
		Limits: edge.Limits{Header: -1, Idle: -1, TrustedIdle: -1, BodyStall: -1, WriteStall: -1, UpgradeIdle: -1, Target: -1, Headers: -1}})
	big := strings.Repeat("a", 200<<10)
	raw := "POST /" + big + " HTTP/1.1\r\nHost: a\r\nConnection: close\r\nX-A: " + big + "\r\nContent-Length: 1\r\n\r\nx"
	if got := ask(t, srv.Addr().String(), raw); got != 200 {
		t.Errorf("got %d", got)
	}
}

func TestLog(t *testing.T) {
	var log lines
	boom := errors.New("boom")
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/fail":
			transit.Fail(w, r, 502, boom)
		case "/forbidden":
			transit.Fail(w, r, 403, boom)
		case "/panic":
			panic("on purpose")
		case "/abort":
			io.WriteString(w, "half")
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		}
		io.WriteString(w, "hello")
	})
	srv := serve(t, h, edge.Options{Logger: log.Logger(), Pages: map[int][]byte{502: []byte("<p>sorry")}})
	base := "http://" + srv.Addr().String()
	bodies := map[string]string{"/ok": "hello", "/fail": "<p>sorry", "/panic": "500 Internal Server Error\n"}
	for _, path := range []string{"/ok", "/fail", "/forbidden", "/panic", "/abort"} {
		res, err := http.Get(base + path)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(res.Body)
		res.Body.Close()
		if want, ok := bodies[path]; ok && string(body) != want {
			t.Errorf("%s: got %q", path, body)
		}
		if path == "/fail" && (res.Header.Get("Content-Type") != "text/html; charset=utf-8" || res.Header.Get("Cache-Control") != "no-store") {
			t.Errorf("page: %v", res.Header)
		}
	}
	var got []string
	for _, m := range log.all(t) {
		if m["msg"] == "panic" {
			if !strings.Contains(fmt.Sprint(m["stack"]), "server_test.go") {
				t.Errorf("a panic without its stack: %v", m)
			}
			continue
		}
		got = append(got, fmt.Sprintf("%v %v %v %v %v", m["level"], m["status"], m["target"], m["bytes"], m["cause"]))
	}
	want := []string{
		"INFO 200 /ok 5 <nil>",
		"ERROR 502 /fail 8 boom",
		"WARN 403 /forbidden 19 boom",
		"ERROR 500 /panic 26 edge: panic: on purpose",
		"ERROR 200 /abort 4 <nil>",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestNoAccessLogKeepsFailures(t *testing.T) {
	var log lines
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/fail" {
			transit.Fail(w, r, 504, errors.New("slow"))
		}
	})
	srv := serve(t, h, edge.Options{Logger: log.Logger(), NoAccessLog: true})
	for _, path := range []string{"/", "/fail"} {
		ask(t, srv.Addr().String(), "GET "+path+" HTTP/1.0\r\n\r\n")
	}
	waitFor(t, func() bool { return len(log.all(t)) > 0 })
	if got := log.all(t); len(got) != 1 || got[0]["cause"] != "slow" {
		t.Errorf("got %v", got)
	}
}

// A proxy in a private network that nobody trusts is a redirect loop ahead.
func TestWarnAboutScheme(t *testing.T) {
	for trusted, want := range map[bool]int{false: 1, true: 0} {
		var log lines
		opts := edge.Options{Logger: log.Logger(), NoAccessLog: true}
		if trusted {
			opts.Trusted = loopback
		}
		srv := serve(t, http.NotFoundHandler(), opts)
		for _, proto := range []string{"http", "https", "https"} {
			ask(t, srv.Addr().String(), "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nX-Forwarded-Proto: "+proto+"\r\n\r\n")
		}
		if got := log.all(t); len(got) != want || want > 0 && got[0]["peer"] != "127.0.0.1" {
			t.Errorf("trusted %t: %v", trusted, got)
		}
	}
}

// A client that leaves is 499 in the log, whatever the handler did.
func TestClientGone(t *testing.T) {
	var log lines
	entered := make(chan struct{})
	ended := make(chan struct{})
	h := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		close(entered)
		<-r.Context().Done()
		close(ended)
	})
	srv := serve(t, h, edge.Options{Logger: log.Logger()})
	c := testkit.Dial(t, srv.Addr().String())
	io.WriteString(c, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	<-entered
	c.Close()
	<-ended
	waitFor(t, func() bool { return len(log.all(t)) == 1 })
	if got := log.all(t)[0]; got["status"] != 499.0 || got["msg"] != "client gone" {
		t.Errorf("got %v", got)
	}
}

// waitFor polls for what another goroutine is about to do.
func waitFor(t *testing.T, ok func() bool) {
	t.Helper()
	testkit.Within(t, testkit.Patience, "what is to come", ok)
}

type runner func(context.Context) error

func (f runner) Run(ctx context.Context) error { return f(ctx) }

// Requests end, upgrades are closed, and only then the background.
func TestDrain(t *testing.T) {
	entered, leave := make(chan struct{}), make(chan struct{})
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/ws" {
			c, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\n\r\n")
			return
		}
		if r.URL.Path == "/quick" {
			return
		}
		close(entered)
		<-leave
		io.WriteString(w, "whole")
	})
	srv, err := edge.New(h, edge.Options{Addr: "127.0.0.1:0", Linger: 500 * time.Millisecond, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	if err := srv.Ready(); !errors.Is(err, edge.ErrNotServing) {
		t.Errorf("before Run: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	backgroundEnded := make(chan struct{})
	done := make(chan error, 1)
	go func() {
		done <- srv.Run(ctx,
			runner(func(ctx context.Context) error { <-ctx.Done(); close(backgroundEnded); return ctx.Err() }),
			runner(func(context.Context) error { return errors.New("lost its way") }))
	}()
	addr := srv.Addr().String()
	ws := testkit.Dial(t, addr)
	defer ws.Close()
	io.WriteString(ws, "GET /ws HTTP/1.1\r\nHost: a\r\n\r\n")
	wsReader := bufio.NewReader(ws)
	if _, err := wsReader.ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	body := make(chan string, 1)
	go func() {
		res, err := http.Get("http://" + addr + "/slow")
		if err != nil {
			body <- err.Error()
			return
		}
		defer res.Body.Close()
		b, _ := io.ReadAll(res.Body)
		body <- string(b)
	}()
	<-entered
	waitFor(t, func() bool { return strings.Contains(srv.Report().Why, "lost its way") })
	if err := srv.Ready(); err != nil {
		t.Errorf("a failed runner made it unready: %v", err)
	}
	cancel()
	waitFor(t, func() bool { return errors.Is(srv.Ready(), edge.ErrDraining) })
	if res, err := http.Get("http://" + addr + "/quick"); err == nil { // Linger may be over already
		res.Body.Close()
		if !res.Close {
			t.Error("a client may stay on a connection that is about to be closed")
		}
	}
	if c, err := net.Dial("tcp", addr); err == nil {
		io.WriteString(c, "GET /quick HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
		if res, err := http.ReadResponse(bufio.NewReader(c), nil); err == nil && res.Close {
			t.Error("an upgrade cannot succeed any more")
		}
		c.Close()
	}
	waitFor(t, func() bool { // the listener closes after Linger
		c, err := net.Dial("tcp", addr)
		if err == nil {
			c.Close()
		}
		return err != nil
	})
	select {
	case <-backgroundEnded:
		t.Error("the background ended before the last request")
	default:
	}
	close(leave)
	if got := <-body; got != "whole" {
		t.Errorf("the request in flight got %q", got)
	}
	if err := <-done; err != nil {
		t.Errorf("Run: %v", err)
	}
	<-backgroundEnded
	_ = ws.SetReadDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.ReadAll(wsReader); err != nil {
		t.Errorf("the upgraded connection was not closed: %v", err)
	}
	if err := srv.Run(context.Background()); !errors.Is(err, edge.ErrRun) {
		t.Errorf("a second Run: %v", err)
	}
}

func TestNewRefuses(t *testing.T) {
	ok := http.NotFoundHandler()
	certs, err := edge.Certificates(pair(t, t.TempDir(), "a.example", time.Now().Add(time.Hour)))
	if err != nil {
		t.Fatal(err)
	}
	pagesOf, err := cache.New(cache.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer pagesOf.Close()
	pages := func(hosts ...string) map[string]map[int][]byte {
		out := make(map[string]map[int][]byte)
		for _, host := range hosts {
			out[host] = map[int][]byte{503: []byte("x")}
		}
		return out
	}
	for name, c := range map[string]struct {
		h    http.Handler
		opts edge.Options
		want string
	}{
		"no handler":     {nil, edge.Options{}, "no handler"},
		"bad prefix":     {ok, edge.Options{Trusted: make([]netip.Prefix, 1)}, "Trusted"},
		"page for 200":   {ok, edge.Options{Pages: map[int][]byte{200: []byte("x")}}, "no error status"},
		"page too large": {ok, edge.Options{Pages: map[int][]byte{503: make([]byte, 64<<10+1)}}, "65537 bytes"},
		"bad address":    {ok, edge.Options{Addr: "127.0.0.1:99999"}, "invalid port"},
		"a nil router":   {(*router.Router)(nil), edge.Options{}, "no handler"},
		"a nil pool":     {pagesOf.Handler((*balancer.Pool)(nil)), edge.Options{}, "*cache.handler wraps a nil handler (*balancer.Pool)"},
		"HSTS":           {ok, edge.Options{HSTS: time.Second / 2}, "want a second or more"},
		"host with port": {ok, edge.Options{HostPages: pages("shop.example:8080")}, "without scheme and port"},
		"IPv6 with port": {ok, edge.Options{HostPages: pages("[::1]:8080")}, "without scheme and port"},
		"host of a URL":  {ok, edge.Options{HostPages: pages("https://shop.example")}, "without scheme and port"},
		"host twice":     {ok, edge.Options{HostPages: pages("shop.example", "Shop.example")}, "there twice"},
		"no host":        {ok, edge.Options{HostPages: pages("")}, "without scheme and port"},
		"ACME beside":    {ok, edge.Options{Certificates: certs, TLS: (&autocert.Manager{}).TLSConfig()}, "want them in one of the two"},
		"pairs beside":   {ok, edge.Options{Certificates: certs, TLS: &tls.Config{Certificates: make([]tls.Certificate, 1)}}, "want them in one of the two"},
		"old TLS":        {ok, edge.Options{Certificates: certs, TLS: &tls.Config{MaxVersion: tls.VersionTLS11}}, "no handshake would succeed"},
		"no authority":   {ok, edge.Options{Certificates: certs, TLS: &tls.Config{ClientAuth: tls.RequireAndVerifyClientCert}}, "no ClientCAs"},
		"streams":        {ok, edge.Options{Limits: edge.Limits{Streams: -1}}, "unlimited"},
	} {
		if c.opts.Addr == "" {
			c.opts.Addr = "127.0.0.1:0"
		}
		if _, err := edge.New(c.h, c.opts); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

// Files go out through sendfile: the writer that the handler sees, and the
// connection under the standard server, are both io.ReaderFrom.
func TestFilesAndUnwrap(t *testing.T) {
	name := filepath.Join(t.TempDir(), "f")
	want := bytes.Repeat([]byte("0123456789abcdef"), 100_000)
	if err := os.WriteFile(name, want, 0o600); err != nil {
		t.Fatal(err)
	}
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, ok := w.(io.ReaderFrom); !ok {
			t.Error("the writer is no io.ReaderFrom")
		}
		if err := http.NewResponseController(w).SetWriteDeadline(time.Now().Add(time.Minute)); err != nil {
			t.Errorf("ResponseController: %v", err)
		}
		w.WriteHeader(http.StatusEarlyHints)
		http.ServeFile(w, r, name)
	})
	srv := serve(t, h, edge.Options{})
	res, err := http.Get("http://" + srv.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	got, err := io.ReadAll(res.Body)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("got %d bytes, %v", len(got), err)
	}
}

func TestReportAndExplain(t *testing.T) {
	srv := serve(t, http.NotFoundHandler(), edge.Options{})
	ask(t, srv.Addr().String(), "GET / HTTP/1.0\r\n\r\n")
	waitFor(t, func() bool {
		for _, m := range srv.Report().Metrics {
			if m.Name == "responses_total" && len(m.Labels) == 1 && m.Labels[0].Value == "4xx" {
				return m.Value == 1
			}
		}
		return false
	})
	if got := srv.Report().State; got != health.Up {
		t.Errorf("state: %s", got)
	}
	if got := srv.Explain(httptest.NewRequest("GET", "/", nil)).Part; got != "handler" {
		t.Errorf("Explain: %s", got)
	}
}

func TestHSTS(t *testing.T) {
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/own" {
			w.Header().Set("Strict-Transport-Security", "max-age=1")
		}
		io.WriteString(w, "ok")
	})
	srv := serve(t, h, edge.Options{Trusted: loopback, HSTS: 5 * time.Minute})
	for _, c := range []struct{ path, proto, want string }{
		{"/", "https", "max-age=300"},
		{"/own", "https", "max-age=1"},
		{"/", "http", ""},
	} {
		req, err := http.NewRequest("GET", "http://"+srv.Addr().String()+c.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("X-Forwarded-Proto", c.proto)
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if got := strings.Join(res.Header["Strict-Transport-Security"], "|"); got != c.want {
			t.Errorf("%s %s: got %q, want %q", c.proto, c.path, got, c.want)
		}
	}
}

// TestAClientThatHasClosedItsDirection has left, unless the operator says that it
// may still read.
func TestAClientThatHasClosedItsDirection(t *testing.T) {
	for _, may := range []bool{false, true} {
		begun, release := make(chan bool), make(chan bool)
		h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			begun <- true
			select {
			case <-r.Context().Done():
			case <-release:
				io.WriteString(w, "served")
			}
		})
		var log lines
		srv := serve(t, h, edge.Options{HalfClosed: may, Logger: log.Logger()})
		c := testkit.Dial(t, srv.Addr().String())
		io.WriteString(c, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
		<-begun
		c.CloseWrite()
		if may {
			close(release)
		}
		got, err := io.ReadAll(c)
		if served := strings.HasSuffix(string(got), "served"); served != may || err != nil {
			t.Errorf("may read on %t: got %q, %v", may, got, err)
		}
		waitFor(t, func() bool { return len(log.all(t)) == 1 })
		if gone := log.all(t)[0]["msg"] == "client gone"; gone == may {
			t.Errorf("may read on %t: %v", may, log.all(t))
		}
	}
}

// TestAMountedEdgeLeavesTheRequestAsItIs: the caller's request is the caller's,
// also where another edge has made the record.
func TestAMountedEdgeLeavesTheRequestAsItIs(t *testing.T) {
	inner, err := edge.New(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(w, r.Body)
	}), edge.Options{Addr: "127.0.0.1:0", Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer inner.Close()
	srv := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body := r.Body
		inner.ServeHTTP(w, r)
		if r.Body != body {
			t.Error("the body is another")
		}
	}), edge.Options{})
	res, err := http.Post("http://"+srv.Addr().String(), "text/plain", strings.NewReader("hello"))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if got, err := io.ReadAll(res.Body); string(got) != "hello" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
}

// TestADrainEndsHandshakes of clients that say nothing: later nobody would.
func TestADrainEndsHandshakes(t *testing.T) {
	certs, err := edge.Certificates(pair(t, t.TempDir(), "shop.example", time.Now().Add(90*24*time.Hour)))
	if err != nil {
		t.Fatal(err)
	}
	srv, err := edge.New(http.NotFoundHandler(), edge.Options{Addr: "127.0.0.1:0", Certificates: certs, Linger: -1, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- srv.Run(ctx) }()
	c := testkit.Dial(t, srv.Addr().String())
	waitFor(t, func() bool {
		for _, m := range srv.Report().Metrics {
			if m.Name == "connections_open" {
				return m.Value == 1
			}
		}
		return false
	})
	cancel()
	if err := <-done; err != nil {
		t.Errorf("Run: %v", err)
	}
	c.SetReadDeadline(time.Now().Add(5 * time.Second)) // before the handshake's own limit
	if _, err := c.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("still open: %v", err)
	}
}
