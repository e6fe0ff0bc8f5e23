package edge_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/foretier/foretier/internal/testkit"
	"github.com/foretier/foretier/internal/transit"
	"github.com/foretier/foretier/router/edge"
)

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

func TestRedirect(t *testing.T) {
	for _, c := range []struct{ host, target, want string }{
		{"shop.example", "/a?b=c", "https://shop.example/a?b=c"},
		{"shop.example:80", "/", "https://shop.example/"},
		{"[::1]:80", "/", "https://[::1]/"},
		{"[::1]", "/", "https://[::1]/"},
		{"shop.example", "//evil.example/", "https://shop.example//evil.example/"},
		{"shop.example", "/a%0d%0aX:%20y", "https://shop.example/a%0d%0aX:%20y"},
		{"shop.example", "/a%2Fb{c}?q=100%&a;b", "https://shop.example/a%2Fb%7Bc%7D?q=100%&a;b"},
		{"shop.example", "http://shop.example", "https://shop.example/"},
		{"shop.example", "http://shop.example?a=/b", "https://shop.example/?a=/b"},
		{"shop.example", "http://shop.example/a?b", "https://shop.example/a?b"},
		{"shop.example", "*", "https://shop.example/"},
		{"shop.example", "/a%2Fb{c}%7e?q=100%&x={y};z", "https://shop.example/a%2Fb%7Bc%7D%7e?q=100%&x=%7By%7D;z"},
		{"shop.example", "/it's(a)?", "https://shop.example/it's(a)?"},
	} {
		for port, h := range map[string]http.Handler{"": edge.Redirect(), ":8443": redirectPort(t, 8443), ":443": redirectPort(t, 443)} {
			r, err := http.ReadRequest(bufio.NewReader(strings.NewReader("OPTIONS " + c.target + " HTTP/1.1\r\nHost: " + c.host + "\r\n\r\n")))
			if err != nil {
				t.Fatal(err)
			}
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			want := c.want
			if port == ":8443" {
				host := strings.TrimSuffix(c.host, ":80")
				want = strings.Replace(want, host, host+port, 1)
			}
			if got := w.Header().Get("Location"); got != want || w.Code != http.StatusPermanentRedirect {
				t.Errorf("%s %s: %d %q, want %q", c.host, c.target, w.Code, got, want)
			}
		}
	}
}

func redirectPort(t *testing.T, port int) http.Handler {
	t.Helper()
	h, err := edge.RedirectPort(port)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// There is nowhere to send a request without a host.
func TestRedirectWithoutHost(t *testing.T) {
	srv := serve(t, edge.Redirect(), edge.Options{})
	if got := ask(t, srv.Addr().String(), "GET /a HTTP/1.0\r\n\r\n"); got != 400 {
		t.Errorf("without a host: %d, want 400", got)
	}
	if got := ask(t, srv.Addr().String(), "GET /a HTTP/1.0\r\nHost: shop.example\r\n\r\n"); got != 308 {
		t.Errorf("with one: %d, want 308", got)
	}
	w := httptest.NewRecorder() // where no edge has looked at it
	edge.Redirect().ServeHTTP(w, &http.Request{Host: "a/b", URL: &url.URL{Path: "/"}})
	if w.Code != 400 {
		t.Errorf("a host that is none: %d, want 400", w.Code)
	}
	for _, port := range []int{0, -1, 65536} {
		if _, err := edge.RedirectPort(port); err == nil || !strings.Contains(err.Error(), "from 1 to 65535") {
			t.Errorf("port %d: got %v", port, err)
		}
	}
}

// An announced listener stands for one that speaks the PROXY protocol: the
// first line of each connection is its client's address.
type announced struct{ net.Listener }

func (l announced) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	return &announcedConn{Conn: c, r: bufio.NewReader(c)}, err
}

type announcedConn struct {
	net.Conn
	r    *bufio.Reader
	once sync.Once
	from string
}

func (c *announcedConn) RemoteAddr() net.Addr {
	c.once.Do(func() { c.from, _ = c.r.ReadString('\n') })
	return addr(strings.TrimSpace(c.from))
}

func (c *announcedConn) Read(p []byte) (int, error) {
	c.RemoteAddr()
	return c.r.Read(p)
}

func TestWrap(t *testing.T) {
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, edge.Client(r)) })
	srv := serve(t, h, edge.Options{Wrap: func(l net.Listener) net.Listener { return announced{l} }})
	slow := testkit.Dial(t, srv.Addr().String()) // says nothing, and holds nobody up
	defer slow.Close()
	c := testkit.Dial(t, srv.Addr().String())
	defer c.Close()
	io.WriteString(c, "203.0.113.5:99\nGET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
	got, err := io.ReadAll(c)
	if err != nil || !bytes.HasSuffix(got, []byte("203.0.113.5")) {
		t.Errorf("got %q, %v", got, err)
	}
}

// The child of TestInherited serves on what it was passed.
func TestMain(m *testing.M) {
	if os.Getenv("EDGE_TEST_CHILD") == "" {
		os.Exit(m.Run())
	}
	os.Setenv("LISTEN_PID", fmt.Sprint(os.Getpid())) // as the service manager does between fork and exec
	ls, err := edge.Inherited()
	if again, _ := edge.Inherited(); err != nil || len(ls) != 1 || again != nil || os.Getenv("LISTEN_FDS") != "" {
		fmt.Println("listeners:", ls, again, err)
		os.Exit(1)
	}
	h := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "inherited") })
	srv, err := edge.New(h, edge.Options{Listener: ls[0], Linger: -1, Logger: slog.New(slog.DiscardHandler)})
	if err == nil {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		err = srv.Run(ctx)
	}
	fmt.Println(err)
}

func TestInherited(t *testing.T) {
	if ls, err := edge.Inherited(); ls != nil || err != nil {
		t.Errorf("without a service manager: %v, %v", ls, err)
	}
	l := testkit.Listen(t)
	f, err := l.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), "EDGE_TEST_CHILD=1", "LISTEN_FDS=1")
	cmd.ExtraFiles = []*os.File{f}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { cmd.Process.Kill(); cmd.Wait() }()
	client := http.Client{Timeout: 30 * time.Second}
	res, err := client.Get("http://" + l.Addr().String())
	if err != nil {
		t.Fatalf("%v\n%s", err, &out)
	}
	defer res.Body.Close()
	if body, _ := io.ReadAll(res.Body); string(body) != "inherited" {
		t.Errorf("got %q", body)
	}
}

func TestCombinedLog(t *testing.T) {
	var combined, log lines
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/fail" {
			transit.Fail(w, r, 502, errors.New("refused"))
			return
		}
		io.WriteString(w, "hello")
	})
	srv := serve(t, h, edge.Options{Combined: &combined, AnonymousLog: true, Logger: log.Logger(), Trusted: loopback})
	for _, r := range []string{
		"GET /a?b HTTP/1.1\r\nHost: a\r\nReferer: http://x/\"\r\nUser-Agent: \xff\\\r\nX-Forwarded-For: 203.0.113.77\r\n",
		"GET /fail HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 2001:db8:1:2::3\r\n",
	} {
		ask(t, srv.Addr().String(), r+"Connection: close\r\n\r\n")
	}
	waitFor(t, func() bool { return strings.Count(combined.String(), "\n") >= 2 }) // no answer waits for its line
	got := combined.String()
	var parts []string
	for line := range strings.Lines(got) {
		before, rest, _ := strings.Cut(line, "[")
		_, after, _ := strings.Cut(rest, "]")
		parts = append(parts, before+after)
	}
	want := `203.0.113.0 - -  "GET /a?b HTTP/1.1" 200 5 "http://x/\x22" "\xff\x5c"` + "\n" +
		`2001:db8:1:: - -  "GET /fail HTTP/1.1" 502 16 "-" "-"` + "\n"
	if strings.Join(parts, "") != want {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(parts, ""), want)
	}
	if all := log.all(t); len(all) != 1 || all[0]["cause"] != "refused" || all[0]["client"] != "2001:db8:1::" {
		t.Errorf("log: %v", all)
	}
}

type note string

func (n note) LogValue() slog.Value { return slog.StringValue(string(n)) }

func TestRouteTrace(t *testing.T) {
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Route-Trace") != "" {
			t.Error("the wish went on to a backend")
		}
		rec := transit.From(r.Context())
		rec.Note("router", note("shop"))
		rec.Note("pool", note("web1\r\nX: y"))
		io.WriteString(w, "ok")
	})
	for trusted, want := range map[bool]string{true: "router=shop; pool=web1??X: y", false: ""} {
		opts := edge.Options{}
		if trusted {
			opts.Trusted = loopback
		}
		srv := serve(t, h, opts)
		req, err := http.NewRequest("GET", "http://"+srv.Addr().String(), nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("X-Route-Trace", "1")
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if got := res.Header.Get("X-Route-Trace"); got != want {
			t.Errorf("trusted %t: got %q, want %q", trusted, got, want)
		}
	}
}

func TestHostPages(t *testing.T) {
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { transit.Fail(w, r, 503, errors.New("down")) })
	srv := serve(t, h, edge.Options{
		Pages:     map[int][]byte{503: []byte("sorry")},
		HostPages: map[string]map[int][]byte{"b.example": {503: []byte("pardon")}, "C.Example.": {503: []byte("scusi")}, "[0:0::1]": {503: []byte("loop")}, "2001:DB8::1": {503: []byte("doc")}},
	})
	for host, want := range map[string]string{"a.example": "sorry", "B.example:80": "pardon", "c.example": "scusi", "C.EXAMPLE.:80": "scusi",
		"[::1]:8080": "loop", "[::1]": "loop", "[2001:db8:0::1]:80": "doc"} {
		req, err := http.NewRequest("GET", "http://"+srv.Addr().String(), nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Host = host
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(res.Body)
		res.Body.Close()
		if string(body) != want || res.Header.Get("Retry-After") != "30" {
			t.Errorf("%s: got %q, %v", host, body, res.Header)
		}
	}
}

// A connection has 100 streams; for more the client must open another.
func TestStreams(t *testing.T) {
	certs, err := edge.Certificates(pair(t, t.TempDir(), "shop.example", time.Now().Add(time.Hour)))
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	all, byConn := 0, map[string]int{}
	leave := make(chan struct{})
	h := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		mu.Lock()
		all++
		byConn[r.RemoteAddr]++
		mu.Unlock()
		<-leave
	})
	srv := serve(t, h, edge.Options{Certificates: certs})
	client := http2Client(t)
	var wg sync.WaitGroup
	for range 150 {
		wg.Go(func() {
			res, err := client.Get("https://" + srv.Addr().String())
			if err != nil {
				t.Error(err)
				return
			}
			res.Body.Close()
		})
	}
	waitFor(t, func() bool { mu.Lock(); defer mu.Unlock(); return all == 150 })
	close(leave)
	wg.Wait()
	most := 0
	for _, n := range byConn {
		most = max(most, n)
	}
	if most != 100 {
		t.Errorf("%d streams on a connection, want 100", most)
	}
}

// Connections that dribble their headers cost the others nothing, and are cut.
func TestSlowloris(t *testing.T) {
	h := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "ok") })
	srv := serve(t, h, edge.Options{Limits: edge.Limits{Header: 2 * time.Second}})
	var wg sync.WaitGroup
	var cut atomic.Int64
	for range 200 {
		c, err := net.Dial("tcp", srv.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		io.WriteString(c, "GET / HTTP/1.1\r\nHost: a\r\n")
		wg.Go(func() {
			tick := time.NewTicker(200 * time.Millisecond)
			defer tick.Stop()
			for range 150 { // for half a minute, if let
				<-tick.C
				if _, err := io.WriteString(c, "X: y\r\n"); err != nil {
					cut.Add(1)
					return
				}
			}
		})
	}
	for range 50 {
		if got := ask(t, srv.Addr().String(), "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"); got != 200 {
			t.Errorf("an ordinary request got %d", got)
		}
	}
	wg.Wait()
	if cut.Load() != 200 {
		t.Errorf("%d of 200 connections were cut", cut.Load())
	}
}

// TestAHandlerThatSaysNothing answers 200, with what the edge adds to every
// answer.
func TestAHandlerThatSaysNothing(t *testing.T) {
	srv := serve(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}), edge.Options{Trusted: loopback, HSTS: time.Minute})
	for _, method := range []string{"GET", "HEAD", "POST"} {
		r, err := http.NewRequest(method, "http://"+srv.Addr().String(), nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("X-Forwarded-Proto", "https")
		res, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != 200 || res.Header.Get("Strict-Transport-Security") == "" || method != "HEAD" && res.ContentLength != 0 {
			t.Errorf("%s: got %d, length %d, %v", method, res.StatusCode, res.ContentLength, res.Header)
		}
	}
}
