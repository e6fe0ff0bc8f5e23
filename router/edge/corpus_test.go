package edge_test

import (
	"bufio"
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/foretier/foretier/internal/servertest"
	"github.com/foretier/foretier/internal/testkit"
	"github.com/foretier/foretier/router"
	"github.com/foretier/foretier/router/edge"
)

// A corpusRow is one line of the corpus of admin-path bypasses.
type corpusRow struct {
	line                   int
	target, extra          string
	class, expected        string
	method, host, protocol string
	headers                []string
}

// readCorpus reads rows as the comment on top of the corpus describes them.
func readCorpus(tb testing.TB, files ...string) (rows []corpusRow) {
	tb.Helper()
	hexByte := regexp.MustCompile(`<[0-9A-F]{2}>`)
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			tb.Fatal(err)
		}
		for i, line := range strings.Split(string(text), "\n") {
			if line == "" || strings.HasPrefix(line, "#") && !strings.Contains(line, "\t") {
				continue
			}
			col := strings.Split(line, "\t")
			if len(col) != 4 {
				tb.Fatalf("%s:%d: %d columns", name, i+1, len(col))
			}
			row := corpusRow{line: i + 1, extra: col[1], class: col[2], expected: col[3], method: "GET", host: "shop.example", protocol: "HTTP/1.1"}
			row.target = hexByte.ReplaceAllStringFunc(col[0], func(s string) string {
				b, _ := hex.DecodeString(s[1:3]) // the expression lets nothing else through
				return string(b)
			})
			for _, extra := range strings.Split(col[1], " && ") {
				switch {
				case extra == "-":
				case strings.HasPrefix(extra, ":method: "):
					row.method = extra[len(":method: "):]
				case strings.HasPrefix(extra, ":host: "):
					row.host = extra[len(":host: "):]
				default:
					row.headers = append(row.headers, extra)
				}
			}
			rows = append(rows, row)
		}
	}
	return rows
}

// raw is the row's request, with a path of its own id in a header.
func (row *corpusRow) raw() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s %s\r\nHost: %s\r\nX-Row: %d\r\n", row.method, row.target, row.protocol, row.host, row.line)
	closes := false
	for _, h := range row.headers {
		b.WriteString(h + "\r\n")
		closes = closes || strings.HasPrefix(h, "Connection:")
	}
	if !closes {
		b.WriteString("Connection: close\r\n")
	}
	b.WriteString("\r\n")
	if strings.Contains(b.String(), "Content-Length: 5") {
		b.WriteString("hello")
	}
	return b.String()
}

// A recorder is a fake server that remembers what reached it.
type recorder struct {
	*httptest.Server
	mu  sync.Mutex
	got []*http.Request
}

func newRecorder(tb testing.TB) *recorder {
	rec := new(recorder)
	rec.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rec.mu.Lock()
		rec.got = append(rec.got, r)
		rec.mu.Unlock()
		io.WriteString(w, "ok")
	}))
	tb.Cleanup(rec.Close)
	return rec
}

// take returns what came since the last call.
func (rec *recorder) take() []*http.Request {
	rec.mu.Lock()
	defer rec.mu.Unlock()
	got := rec.got
	rec.got = nil
	return got
}

// proxyTo forwards as a pool would, behind its guard.
func proxyTo(tb testing.TB, server *httptest.Server, refuse interface{ Match(*http.Request) bool }) http.Handler {
	target, err := url.Parse(server.URL)
	if err != nil {
		tb.Fatal(err)
	}
	return &httputil.ReverseProxy{
		Rewrite: func(pr *httputil.ProxyRequest) {
			pr.SetURL(target)
			pr.Out.Host = pr.In.Host
		},
		Transport: guard{refuse},
		ErrorLog:  slog.NewLogLogger(slog.DiscardHandler, 0),
	}
}

type guard struct {
	refuse interface{ Match(*http.Request) bool }
}

func (g guard) RoundTrip(r *http.Request) (*http.Response, error) {
	if g.refuse != nil && g.refuse.Match(r) {
		return &http.Response{StatusCode: http.StatusForbidden, Header: http.Header{}, Body: http.NoBody, Request: r}, nil
	}
	return http.DefaultTransport.RoundTrip(r)
}

// serve runs a server until the test ends.
func serve(tb testing.TB, h http.Handler, opts edge.Options) *edge.Server {
	tb.Helper()
	if opts.Addr == "" && opts.Listener == nil {
		opts.Addr = "127.0.0.1:0"
	}
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	if opts.Linger == 0 {
		opts.Linger = -1
	}
	srv, err := edge.New(h, opts)
	if err != nil {
		tb.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- srv.Run(ctx) }()
	for srv.Ready() != nil {
		runtime.Gosched() // until Run has begun
	}
	tb.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			tb.Errorf("Run: %v", err)
		}
	})
	return srv
}

// ask sends raw over a connection of its own and returns the final status.
func ask(tb testing.TB, addr, raw string) int {
	tb.Helper()
	c := testkit.Dial(tb, addr)
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(30 * time.Second))
	if _, err := io.WriteString(c, raw); err != nil {
		tb.Fatal(err)
	}
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return 0
	}
	defer res.Body.Close()
	_, _ = io.Copy(io.Discard, res.Body)
	return res.StatusCode
}

// stripped lists what no row may bring to a backend.
var stripped = []string{
	"X-Original-Url", "X-Rewrite-Url", "X-Original-Uri", "X-Forwarded-Uri", "X-Forwarded-Path", "X-Forwarded-Prefix",
	"X-Override-Url", "X_original_url", "X_rewrite_url", "X_Original_URL", "X_Rewrite_Url", "Unencoded-Url",
	"Iis-Wasurlrewritten", "X_forwarded_for", "X_Forwarded_For", "X-Forwarded-Host", "Forwarded", "X-Real-Ip",
	"True-Client-Ip", "Proxy", "Http2-Settings", "X-Http-Method-Override", "X-Http-Method", "X-Method-Override",
}

// ours reports whether a pool sets that field itself, and nothing was added.
func ours(name string, values []string) bool {
	return (name == "X-Forwarded-Host" || name == "Forwarded") && len(values) == 1 &&
		!strings.ContainsAny(values[0], ",") && !strings.Contains(values[0], "admin.")
}

// TestCorpus sends every row through a real socket and looks at what fake
// servers got. The second file holds rows of our own under the same rules.
func TestCorpus(t *testing.T) {
	origin, apps := newRecorder(t), newRecorder(t)
	admin := router.Admin("/admin")
	front, err := router.New(router.Options{},
		router.Rule{Name: "admin", When: admin, To: proxyTo(t, origin.Server, nil)},
		router.Rule{Name: "shop", To: proxyTo(t, apps.Server, nil)},
	)
	if err != nil {
		t.Fatal(err)
	}
	srv := serve(t, front, edge.Options{})
	runCorpus(t, srv.Addr().String(), origin, apps)
}

// TestCorpusHTTP2 sends the rows that HTTP/2 can say.
func TestCorpusHTTP2(t *testing.T) {
	origin, apps := newRecorder(t), newRecorder(t)
	front, err := router.New(router.Options{},
		router.Rule{Name: "admin", When: router.Admin("/admin"), To: proxyTo(t, origin.Server, nil)},
		router.Rule{Name: "shop", To: proxyTo(t, apps.Server, nil)},
	)
	if err != nil {
		t.Fatal(err)
	}
	certs, err := edge.Certificates(pair(t, t.TempDir(), "shop.example", time.Now().Add(time.Hour)))
	if err != nil {
		t.Fatal(err)
	}
	srv := serve(t, front, edge.Options{Certificates: certs})
	client := http2Client(t)
	sent := 0
	for _, row := range readCorpus(t, "../testdata/bypass-corpus.txt", "../testdata/more-corpus.txt") {
		if row.class == "bad-pct" {
			continue // the standard server resets the stream, and its client waits for an answer
		}
		if len(row.headers) > 0 || row.host != "shop.example" || row.method == "CONNECT" || row.target[0] != '/' || strings.HasPrefix(row.target, "//") {
			continue
		}
		req := &http.Request{Method: row.method, Host: row.host, Header: http.Header{}, URL: &url.URL{Scheme: "https", Host: srv.Addr().String(), Opaque: row.target}}
		res, err := client.Do(req)
		status := 0
		if err == nil { // else the client does not say it
			status = res.StatusCode
			res.Body.Close()
			sent++
		}
		atOrigin, atApps := len(origin.take()), len(apps.take())
		bad := err == nil
		switch row.expected {
		case "admin":
			bad = bad && (atOrigin != 1 || atApps != 0)
		case "other":
			bad = bad && (atOrigin != 0 || atApps != 1)
		default:
			bad = atOrigin+atApps != 0
		}
		if bad {
			t.Errorf("line %d, %s: %s %q: status %d, origin %d, apps %d: want %s", row.line, row.class, row.method, row.target, status, atOrigin, atApps, row.expected)
		}
	}
	if sent < 150 {
		t.Errorf("only %d rows were sent", sent)
	}
}

// TestCorpusThroughGateway does the same with the whole tier.
func TestCorpusThroughGateway(t *testing.T) {
	origin, apps := newRecorder(t), newRecorder(t)
	program := filepath.Join(t.TempDir(), "gateway")
	if out, err := exec.Command("go", "build", "-o", program, "github.com/foretier/foretier/examples/gateway").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	port := servertest.FreePort(t)
	gateway := servertest.Start(t, port, program, "-listen", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)),
		"-origin", origin.URL, "-backends", apps.URL, "-admin", "/admin", "-probe", "", "-sticky", "pin")
	runCorpus(t, gateway.Addr, origin, apps)
}

// runCorpus sends every row to addr and looks at what reached the servers.
func runCorpus(t *testing.T, addr string, origin, apps *recorder) {
	for _, row := range readCorpus(t, "../testdata/bypass-corpus.txt", "../testdata/more-corpus.txt") {
		status := ask(t, addr, row.raw())
		atOrigin, atApps := origin.take(), apps.take()
		what := fmt.Sprintf("line %d, %s: %s %q %q: status %d, origin %d, apps %d", row.line, row.class, row.method, row.target, row.extra, status, len(atOrigin), len(atApps))
		switch row.expected {
		case "admin":
			if len(atOrigin) != 1 || len(atApps) != 0 {
				t.Errorf("%s: want origin only", what)
			}
		case "other":
			if len(atOrigin) != 0 || len(atApps) != 1 {
				t.Errorf("%s: want apps only", what)
			}
		case "reject":
			if len(atOrigin)+len(atApps) != 0 || status != 400 && status != 405 && status != 417 && status != 501 {
				t.Errorf("%s: want a refusal", what)
			}
		default:
			t.Fatalf("line %d: expected %q", row.line, row.expected)
		}
		for _, r := range append(atOrigin, atApps...) {
			for _, name := range stripped {
				if v, ok := r.Header[name]; ok && !ours(name, v) {
					t.Errorf("%s: %s: %q reached a backend", what, name, v)
				}
			}
			for _, line := range row.headers {
				name, value, _ := strings.Cut(line, ": ")
				// The test's client is 127.0.0.1 indeed, so the pool says what it claims.
				set := name == "Connection" || name == "X-Forwarded-For"
				if strings.HasPrefix(row.class, "strip-") && !set && slices.Contains(r.Header.Values(name), value) {
					t.Errorf("%s: %s reached a backend", what, line)
				}
			}
			if up := r.Header.Get("Upgrade"); up != "" && up != "websocket" {
				t.Errorf("%s: upgrade to %s reached a backend", what, up)
			}
			// It goes unless the client says itself that it is for one connection.
			if listed := slices.Contains(row.headers, "Connection: close, X-Row"); (r.Header.Get("X-Row") == "") != listed {
				t.Errorf("%s: a field was lost on the way, or one that was for this connection was not", what)
			}
		}
	}
}
