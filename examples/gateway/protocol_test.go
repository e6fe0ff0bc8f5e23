package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/textproto"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/foretier/foretier/internal/testkit"
)

// These tests send through the whole tier what a shop sends besides pages.

func backendFunc(t *testing.T, h http.HandlerFunc) (url string) {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL
}

func TestWebsocket(t *testing.T) {
	backend := backendFunc(t, func(w http.ResponseWriter, r *http.Request) {
		conn, err := websocket.Accept(w, r, nil)
		if err != nil {
			return
		}
		defer conn.CloseNow()
		for {
			kind, data, err := conn.Read(r.Context())
			if err != nil || conn.Write(r.Context(), kind, append([]byte("echo "), data...)) != nil {
				return
			}
		}
	})
	addr, log := startGateway(t, "-backends", backend, "-sticky", "pin")
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	conn, _, err := websocket.Dial(ctx, "ws://"+addr+"/live", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.CloseNow()
	for i := range 100 {
		want := fmt.Sprint("message ", i)
		if err := conn.Write(ctx, websocket.MessageText, []byte(want)); err != nil {
			t.Fatal(err)
		}
		if _, got, err := conn.Read(ctx); err != nil || string(got) != "echo "+want {
			t.Fatalf("got %q, %v", got, err)
		}
	}
	if err := conn.Close(websocket.StatusNormalClosure, ""); err != nil {
		t.Error(err)
	}
	if line := linesOf(t, log, " target=/live ", 1)[0]; !strings.Contains(line, " status=101 ") || !strings.Contains(line, "level=INFO") {
		t.Errorf("logged as %s", line)
	}
}

// TestEvents: each event of a stream arrives when it is sent.
func TestEvents(t *testing.T) {
	next := make(chan string)
	backend := backendFunc(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		w.Header().Set("Cache-Control", "max-age=60") // it must not wait to be whole
		for event := range next {
			fmt.Fprintf(w, "data: %s\n\n", event)
			if http.NewResponseController(w).Flush() != nil {
				return
			}
		}
	})
	addr, _ := startGateway(t, "-backends", backend)
	go func() { next <- "0" }()
	resp, err := http.Get("http://" + addr + "/events")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	events := bufio.NewReader(resp.Body)
	for i := range 5 {
		line, err := events.ReadString('\n')
		if want := fmt.Sprintf("data: %d\n", i); err != nil || line != want {
			t.Fatalf("got %q, %v, want %q", line, err, want)
		}
		if _, err := events.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
		if i < 4 {
			next <- fmt.Sprint(i + 1) // only now: it was not held back to be sent with others
		}
	}
	close(next)
	if rest, err := io.ReadAll(events); err != nil || len(rest) > 0 {
		t.Errorf("after the last event: %q, %v", rest, err)
	}
}

func TestEarlyHintsAndTrailers(t *testing.T) {
	backend := backendFunc(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Link", "</style.css>; rel=preload")
		w.WriteHeader(http.StatusEarlyHints)
		w.Header().Set("Trailer", "X-Sum")
		w.Header().Set("Cache-Control", "no-store")
		_, _ = io.WriteString(w, "page")
		w.Header().Set("X-Sum", "42")
	})
	addr, _ := startGateway(t, "-backends", backend)
	var hints []string
	ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{
		Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
			hints = append(hints, fmt.Sprint(code, " ", h.Get("Link")))
			return nil
		},
	})
	req, err := http.NewRequestWithContext(ctx, "GET", "http://"+addr+"/", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || string(body) != "page" || resp.StatusCode != 200 {
		t.Errorf("got %s %q, %v", resp.Status, body, err)
	}
	if len(hints) != 1 || hints[0] != "103 </style.css>; rel=preload" {
		t.Errorf("early hints: %q", hints)
	}
	if resp.Trailer.Get("X-Sum") != "42" {
		t.Errorf("trailer: %v", resp.Trailer)
	}
}

// TestUploads: with a length, chunked, and asked for with 100-continue.
func TestUploads(t *testing.T) {
	backend := backendFunc(t, func(w http.ResponseWriter, r *http.Request) {
		n, err := io.Copy(io.Discard, r.Body)
		fmt.Fprint(w, n, " ", err)
	})
	addr, _ := startGateway(t, "-backends", backend)
	const size = 5 << 20
	data := bytes.Repeat([]byte("x"), size)
	bodies := map[string]func() io.Reader{
		"length":  func() io.Reader { return bytes.NewReader(data) },
		"chunked": func() io.Reader { return io.MultiReader(bytes.NewReader(data)) },
	}
	for name, body := range bodies {
		for _, expect := range []string{"", "100-continue"} {
			req, err := http.NewRequestWithContext(t.Context(), "POST", "http://"+addr+"/", body())
			if err != nil {
				t.Fatal(err)
			}
			if expect != "" {
				req.Header.Set("Expect", expect)
			}
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Errorf("%s %s: %v", name, expect, err)
				continue
			}
			got, err := io.ReadAll(resp.Body)
			resp.Body.Close()
			if want := fmt.Sprint(size, " <nil>"); err != nil || string(got) != want {
				t.Errorf("%s %s: %s, backend got %q, %v", name, expect, resp.Status, got, err)
			}
		}
	}
}

func TestUploadTooLarge(t *testing.T) {
	backend := backendFunc(t, func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) })
	addr, _ := startGateway(t, "-backends", backend)
	conn, err := net.DialTimeout("tcp", addr, 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(conn, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n", 65<<20)
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusRequestEntityTooLarge {
		t.Errorf("65 MiB: got %s, want 413 before a byte of it is sent", resp.Status)
	}
}

// TestTLS: HTTP/2 and HTTP/1.1 over TLS, and the backend is told.
func TestTLS(t *testing.T) {
	cert, key, roots := certificate(t)
	backend := backendFunc(t, func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, r.Header.Get("X-Forwarded-Proto"), " ", r.Header.Get("X-Forwarded-Port"), " ", r.Host)
	})
	addr, _ := startGateway(t, "-backends", backend, "-tls-cert", cert, "-tls-key", key)
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	for _, h2 := range []bool{true, false} {
		client := &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{
			ForceAttemptHTTP2: h2,
			TLSClientConfig:   &tls.Config{RootCAs: roots},
		}}
		resp, err := client.Get("https://localhost:" + port + "/")
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		client.CloseIdleConnections()
		if want := "https " + port + " localhost:" + port; err != nil || string(body) != want || (resp.ProtoMajor == 2) != h2 {
			t.Errorf("h2 %t: %s %s %q, %v, want %q", h2, resp.Proto, resp.Status, body, err, want)
		}
	}
	old := &tls.Config{RootCAs: roots, ServerName: "localhost", MaxVersion: tls.VersionTLS11}
	if conn, err := tls.DialWithDialer(&net.Dialer{Timeout: 5 * time.Second}, "tcp", addr, old); err == nil {
		conn.Close()
		t.Error("TLS 1.1 was accepted")
	}
}

// certificate writes a pair for localhost and returns its files.
func certificate(t *testing.T) (certFile, keyFile string, roots *x509.CertPool) {
	t.Helper()
	authority := testkit.NewAuthority(t)
	certFile, keyFile = testkit.Files(t, t.TempDir(), "localhost", authority.Issue(t, "localhost"))
	return certFile, keyFile, authority.Pool
}

// TestTrust: a listed proxy's word on scheme and client counts, anybody
// else's does not.
func TestTrust(t *testing.T) {
	backend := backendFunc(t, func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, r.Header.Get("X-Forwarded-Proto"), " ", r.Header.Get("X-Forwarded-For"))
	})
	for _, c := range []struct{ flag, proto, want string }{
		{"127.0.0.0/8", "https", "https 192.0.2.7, 127.0.0.1"},
		{"127.0.0.0/8", "wss", "https 192.0.2.7, 127.0.0.1"},
		{"127.0.0.0/8", "ws", "http 192.0.2.7, 127.0.0.1"},
		{"10.0.0.0/8", "https", "http 127.0.0.1"},
	} {
		addr, _ := startGateway(t, "-backends", backend, "-trust", c.flag)
		req, err := http.NewRequestWithContext(t.Context(), "GET", "http://"+addr+"/", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("X-Forwarded-Proto", c.proto)
		req.Header.Set("X-Forwarded-For", "192.0.2.7")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || string(body) != c.want {
			t.Errorf("%+v: the backend was told %q, %v", c, body, err)
		}
	}
}

// TestHeadersThatMustNotPass looks at what the backend gets.
func TestHeadersThatMustNotPass(t *testing.T) {
	backend := backendFunc(t, func(w http.ResponseWriter, r *http.Request) {
		for name := range r.Header {
			fmt.Fprintln(w, strings.ToLower(name))
		}
	})
	addr, _ := startGateway(t, "-backends", backend, "-sticky", "pin")
	conn, err := net.DialTimeout("tcp", addr, 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(conn, "GET /shop HTTP/1.1\r\nHost: a\r\nX-Original-URL: /admin\r\nX_Forwarded_For: 1.2.3.4\r\nX-Real-IP: 1.2.3.4\r\n"+
		"Connection: close, X-Listed, Cookie, Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\nX-Listed: 1\r\n"+
		"X-HTTP-Method-Override: DELETE\r\nX-Forward-Host: evil\r\nX-Middleware-Subrequest: middleware\r\nX-Remote-User: admin\r\n"+
		"X-Ssl-Client-Verify: SUCCESS\r\nX-Accel-Redirect: /secret\r\nX-Request-URI: /admin\r\nProxy: http://evil.example\r\nCookie: pin=forged; a=1\r\n\r\n")
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	got := strings.Fields(string(body))
	for _, name := range got {
		switch name {
		case "x-original-url", "x_forwarded_for", "x-real-ip", "upgrade", "http2-settings", "x-http-method-override", "proxy",
			"x-forward-host", "x-middleware-subrequest", "x-remote-user", "x-ssl-client-verify", "x-accel-redirect", "x-request-uri", "x-listed":
			t.Errorf("the backend got %s", name)
		}
	}
	for _, name := range []string{"cookie", "x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "forwarded"} {
		if !strings.Contains("\n"+string(body), "\n"+name+"\n") {
			t.Errorf("the backend did not get %s: %q", name, got)
		}
	}
}
