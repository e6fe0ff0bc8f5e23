package edge_test

import (
	"crypto/tls"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/foretier/foretier/internal/testkit"
	"github.com/foretier/foretier/router/edge"
)

// A request that never reaches a handler leaves one log line with the cause,
// as any other does.
func TestUnreadRequestsAreLogged(t *testing.T) {
	const (
		good = "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
		last = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
	)
	cases := map[string]struct {
		raw    string
		half   bool // the client ends its side
		status float64
		cause  string
		lines  int
	}{
		"no request at all":      {"GARBAGE\r\n\r\n", false, 400, "malformed request line", 1},
		"a bad field name":       {"GET / HTTP/1.1\r\nHost: a\r\nX y: 1\r\n\r\n", false, 400, "the name of a field", 1},
		"no host":                {"GET / HTTP/1.1\r\n\r\n", false, 400, "no Host", 1},
		"an unknown coding":      {"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n", false, 501, "Transfer-Encoding", 1},
		"an unknown version":     {"GET / HTTP/3.7\r\nHost: a\r\n\r\n", false, 505, "version HTTP/3.7", 1},
		"a head without measure": {"GET / HTTP/1.1\r\nHost: a\r\nX: " + strings.Repeat("x", 200_000) + "\r\n\r\n", false, 431, "more than 32768 bytes", 1},
		"behind a good one":      {good + "GARBAGE\r\n\r\n", false, 400, "malformed request line", 2},
		"cut off":                {"GET / HTTP/1.1\r\nHost: a", true, 400, "cut off", 1},
		"behind a good one, cut": {good + "GET / HT", true, 400, "cut off", 2},
		"a handler's own error":  {strings.Replace(last, "/", "/missing", 1), false, 404, "", 1},
		"nothing":                {"", true, 0, "", 0},
		"good ones":              {good + last, false, 200, "", 2},
	}
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/" {
			w.WriteHeader(404)
		}
	})
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			var log lines
			srv := serve(t, h, edge.Options{Logger: log.Logger()})
			conn := testkit.Dial(t, srv.Addr().String())
			go func() {
				_, _ = io.WriteString(conn, c.raw) // the server may not read all of it
				if c.half {
					_ = conn.CloseWrite()
				}
			}()
			_ = conn.SetReadDeadline(time.Now().Add(30 * time.Second))
			_, _ = io.Copy(io.Discard, conn)
			conn.Close()
			waitFor(t, func() bool { return len(log.all(t)) >= c.lines })
			got := log.all(t)
			if len(got) != c.lines {
				t.Fatalf("%d lines: %v", len(got), got)
			}
			if c.lines == 0 {
				return
			}
			line := got[len(got)-1]
			cause, _ := line["cause"].(string)
			if line["status"] != c.status || !strings.Contains(cause, c.cause) || (c.cause == "") != (cause == "") || line["client"] != "127.0.0.1" {
				t.Errorf("got %v", line)
			}
		})
	}
}

// Over TLS what the standard server says is not to be seen, but that the
// connection ended inside a request is.
func TestUnreadRequestsOverTLS(t *testing.T) {
	certs, err := edge.Certificates(pair(t, t.TempDir(), "shop.example", time.Now().Add(90*24*time.Hour)))
	if err != nil {
		t.Fatal(err)
	}
	var log lines
	srv := serve(t, http.NotFoundHandler(), edge.Options{Logger: log.Logger(), Certificates: certs})
	ask := func(protocol, raw string) {
		c, err := tls.Dial("tcp", srv.Addr().String(), &tls.Config{InsecureSkipVerify: true, NextProtos: []string{protocol}}) // it is the test's own
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(c, raw)
		_ = c.SetReadDeadline(time.Now().Add(30 * time.Second))
		if protocol == "http/1.1" {
			_, _ = io.Copy(io.Discard, c)
		}
		c.Close()
	}
	ask("http/1.1", "GARBAGE\r\n\r\n")
	waitFor(t, func() bool { return len(log.all(t)) >= 1 })
	if cause, _ := log.all(t)[0]["cause"].(string); !strings.Contains(cause, "malformed") {
		t.Errorf("got %v", log.all(t))
	}
	ask("http/1.1", "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
	waitFor(t, func() bool { return len(log.all(t)) == 2 })
	ask("h2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n") // and away
	plain := testkit.Dial(t, srv.Addr().String())
	_, _ = io.WriteString(plain, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	_, _ = io.Copy(io.Discard, plain)
	plain.Close()
	waitFor(t, func() bool { return len(log.all(t)) >= 3 })
	requests := slices.DeleteFunc(log.all(t), func(line map[string]any) bool { return line["msg"] != "request" }) // net/http's debug line
	if len(requests) != 3 || requests[2]["status"] != 400.0 {
		t.Errorf("got %v", requests)
	}
}

// Whoever sends no request at all may come as often as it likes, and not have a
// line written each time.
func TestGarbageWritesFewLines(t *testing.T) {
	var log lines
	srv := serve(t, http.NotFoundHandler(), edge.Options{Logger: log.Logger()})
	began := time.Now()
	for range 100 {
		conn := testkit.Dial(t, srv.Addr().String())
		_, _ = io.WriteString(conn, "GARBAGE\r\n\r\n")
		_, _ = io.Copy(io.Discard, conn)
		conn.Close()
	}
	if n := len(log.all(t)); n < 20 || n > 21+int(time.Since(began)/time.Second) {
		t.Errorf("%d lines", n)
	}
}

// A client that is too slow with its head is one, too.
func TestTooSlowAHeadIsLogged(t *testing.T) {
	var log lines
	srv := serve(t, http.NotFoundHandler(), edge.Options{Logger: log.Logger(), Limits: edge.Limits{Header: 50 * time.Millisecond}})
	conn := testkit.Dial(t, srv.Addr().String())
	defer conn.Close()
	_, _ = io.WriteString(conn, "GET / HT")
	_, _ = io.Copy(io.Discard, conn)
	waitFor(t, func() bool { return len(log.all(t)) > 0 })
	if got := log.all(t); len(got) != 1 || !strings.Contains(got[0]["cause"].(string), "not read") {
		t.Errorf("got %v", got)
	}
}
