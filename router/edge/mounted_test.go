package edge_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/foretier/foretier/internal/testkit"
	"github.com/foretier/foretier/internal/transit"
	"github.com/foretier/foretier/router/edge"
)

// mount runs an edge without a port in an http.Server, and returns where that
// listens, and how to end the edge, which waits for it.
func mount(t *testing.T, h http.Handler, opts edge.Options) (s *edge.Server, addr string, end func() error) {
	t.Helper()
	opts.NoPort, opts.Linger = true, -1
	s, err := edge.New(h, opts)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	waitFor(t, func() bool { return s.Ready() == nil })
	theirs := httptest.NewServer(s)
	t.Cleanup(theirs.Close)
	return s, theirs.Listener.Addr().String(), func() error {
		cancel()
		return <-done
	}
}

// TestMounted: what holds of an edge in a server of somebody else's.
func TestMounted(t *testing.T) {
	var log lines
	s, addr, end := mount(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/fail":
			transit.Fail(w, r, http.StatusBadGateway, errors.New("on purpose"))
		case "/panic":
			panic("on purpose")
		case "/short":
			w.Header().Set("Content-Length", "99")
		case "/late":
			go io.Copy(io.Discard, r.Body)
		}
		fmt.Fprintf(w, "%v%v%v", edge.Client(r), r.Header.Values("X-Real-Ip"), r.Header.Values("X_Forwarded_For"))
	}), edge.Options{Logger: log.Logger(), Trusted: loopback, Pages: map[int][]byte{502: []byte("<p>sorry")}})
	if s.Addr() != nil {
		t.Errorf("it listens on %v", s.Addr())
	}
	for path, want := range map[string]string{
		"/":                             "203.0.113.9[][]",
		"/fail":                         "<p>sorry",
		"/panic":                        "500 Internal Server Error\n",
		"/short":                        "<p>sorry", // whatever was written is taken back
		"/late":                         "203.0.113.9[][]",
		"/" + strings.Repeat("l", 8000): "414 Request URI Too Long\n",
	} {
		answer := testkit.Send(t, addr, "POST "+path+" HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 203.0.113.9\r\nX_Forwarded_For: b\r\nContent-Length: 1\r\nConnection: close\r\n\r\nx")
		if _, body, _ := strings.Cut(answer, "\r\n\r\n"); body != want {
			t.Errorf("%.20s: %q, want %q", path, answer, want)
		}
	}
	if err := end(); err != nil {
		t.Errorf("Run: %v", err)
	}
	requests := 0
	for _, m := range log.all(t) {
		if m["msg"] != "panic" {
			requests++
		}
	}
	if requests != 6 {
		t.Errorf("%d lines, want 6: %v", requests, log.String())
	}
}

// TestMountedWaits for the requests that go on when it ends, and for none of the
// upgraded connections, which are another's.
func TestMountedWaits(t *testing.T) {
	begun, release := make(chan bool), make(chan bool)
	s, addr, end := mount(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") != "" {
			c, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			begun <- true
			io.Copy(c, c)
			return
		}
		begun <- true
		<-release
		io.WriteString(w, "whole")
	}), edge.Options{Logger: slog.New(slog.DiscardHandler)})
	upgraded := testkit.Dial(t, addr)
	io.WriteString(upgraded, "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
	<-begun
	c := testkit.Dial(t, addr)
	io.WriteString(c, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	<-begun
	ended := make(chan error, 1)
	go func() { ended <- end() }()
	waitFor(t, func() bool { return errors.Is(s.Ready(), edge.ErrDraining) })
	late := testkit.Dial(t, addr)
	io.WriteString(late, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	<-begun
	select {
	case err := <-ended:
		t.Errorf("it has ended: %v", err)
	default:
	}
	close(release)
	for name, c := range map[string]io.Reader{"in flight": c, "begun late": late} {
		res, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatal(err)
		}
		if b, err := io.ReadAll(res.Body); string(b) != "whole" || err != nil || name == "begun late" && !res.Close {
			t.Errorf("%s: %q, %v, close %t", name, b, err, res.Close)
		}
	}
	if err := <-ended; err != nil {
		t.Errorf("Run: %v", err)
	}
	upgraded.Close()
}

// TestMountedEndsWithoutARequestThatGoesOn for longer than Drain.
func TestMountedEndsWithoutARequestThatGoesOn(t *testing.T) {
	begun, release := make(chan bool), make(chan bool)
	_, addr, end := mount(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		begun <- true
		<-release
	}), edge.Options{Drain: time.Millisecond, Logger: slog.New(slog.DiscardHandler)})
	io.WriteString(testkit.Dial(t, addr), "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	<-begun
	if err := end(); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Run: %v", err)
	}
	close(release)
}

// TestWhatAMountedEdgeLoses is what the package's documentation says.
func TestWhatAMountedEdgeLoses(t *testing.T) {
	var log lines
	s, addr, end := mount(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "ok") }), edge.Options{Logger: log.Logger(), Limits: edge.Limits{Conns: 1}})
	for what, text := range map[string]string{
		"forgiven": "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\n", // a header that ends without CR
		"refused":  "GARBAGE\r\n\r\n",
	} {
		answer := testkit.Send(t, addr, text)
		if ok := strings.HasPrefix(answer, "HTTP/1.1 200"); ok != (what == "forgiven") {
			t.Errorf("%s: %q", what, answer)
		}
	}
	first, second := testkit.Dial(t, addr), testkit.Dial(t, addr)
	for _, c := range []io.ReadWriter{first, second} {
		io.WriteString(c, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
		if res, err := http.ReadResponse(bufio.NewReader(c), nil); err != nil || res.StatusCode != http.StatusOK {
			t.Errorf("beyond the limit of connections: %v, %v", res, err)
		}
	}
	if err := end(); err != nil {
		t.Errorf("Run: %v", err)
	}
	if n := len(log.all(t)); n != 3 {
		t.Errorf("%d lines, want 3", n)
	}
	for _, m := range s.Report().Metrics {
		if m.Name == "connections_total" && m.Value != 0 || m.Name == "requests_total" && m.Value != 3 {
			t.Errorf("%s: %v", m.Name, m.Value)
		}
	}
}

// TestAListenerLater: a server without a port gets one before it runs.
func TestAListenerLater(t *testing.T) {
	l := testkit.Listen(t)
	if _, err := edge.New(http.NotFoundHandler(), edge.Options{NoPort: true, Listener: l}); err == nil {
		t.Error("NoPort beside a Listener")
	}
	s, err := edge.New(http.NotFoundHandler(), edge.Options{NoPort: true, Linger: -1, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Listen(nil); err == nil {
		t.Error("no listener was taken for one")
	}
	if err := s.Listen(l); err != nil {
		t.Fatal(err)
	}
	if err := s.Listen(testkit.Listen(t)); err == nil {
		t.Error("a second listener")
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	if got := ask(t, s.Addr().String(), "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"); got != http.StatusNotFound {
		t.Errorf("got %d", got)
	}
	if err := s.Listen(testkit.Listen(t)); !errors.Is(err, edge.ErrRun) {
		t.Errorf("while it runs: %v", err)
	}
	if s.Report().Name != l.Addr().String() {
		t.Errorf("its name is %q", s.Report().Name)
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("Run: %v", err)
	}
}
