package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/foretier/foretier/internal/servertest"
	"github.com/foretier/foretier/internal/testkit"
)

// startGateway serves what the flags say on a loopback port until the test
// ends, and returns its address and its log.
func startGateway(t *testing.T, args ...string) (addr string, log *testkit.Log) {
	t.Helper()
	c, err := parse(append([]string{"-listen", "127.0.0.1:0"}, args...), io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	c.linger = 0 // nobody needs to notice
	log = new(testkit.Log)
	logger := slog.New(slog.NewTextHandler(log, nil))
	if c.sticky != "" && c.stickyKey == nil {
		c.stickyKey = sharedKey(t.Context(), c, logger)
	}
	return startTier(t, c, logger).srv.Addr().String(), log
}

// startTier serves until the test ends.
func startTier(t *testing.T, c config, logger *slog.Logger) *tier {
	t.Helper()
	on, err := listenOn(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = on.close() }) // that of -status, which nobody serves
	tier, err := build(c, on, logger)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- tier.srv.Run(ctx, tier.background...) }()
	t.Cleanup(func() {
		cancel()
		if err := errors.Join(<-ended, tier.Close()); err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	return tier
}

// TestProbeHost: a shop that redirects whoever does not ask for its name is
// probed by its name.
func TestProbeHost(t *testing.T) {
	shop := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Host != "shop.example" {
			http.Redirect(w, r, "https://shop.example"+r.URL.Path, http.StatusMovedPermanently)
		}
	}))
	defer shop.Close()
	for host, want := range map[string]string{"shop.example": "backend is up", "": "the probe does not succeed"} {
		_, log := startGateway(t, "-backends", shop.URL, "-probe", "/healthz", "-probe-host", host)
		log.Wants(t, want)
	}
}

// TestBadBackends: what a backend does wrong is told with a clear status and
// one log line with the cause, and nothing of it is stored.
func TestBadBackends(t *testing.T) {
	cases := map[string]struct {
		answer string // "": none at all
		status int    // 0: the connection breaks off
		cause  string
	}{
		"garbage":              {"hello, world\r\n\r\n", 502, "malformed HTTP"},
		"closes early":         {"", 502, "EOF"},
		"closes in the head":   {"HTTP/1.1 200 OK\r\nCache-Control: max-a", 502, "EOF"},
		"closes in the body":   {"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 100\r\n\r\nhalf", 502, "EOF"},
		"closes in a chunk":    {"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n5\r\nwo", 502, "EOF"},
		"closes later":         {"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + strings.Repeat("x", 70_000), 0, "EOF"},
		"two lengths":          {"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nhello", 502, "Content-Length"},
		"a header too large":   {"HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 11<<20) + "\r\n\r\n", 502, "header"},
		"a status of no shape": {"HTTP/1.1 20 OK\r\n\r\n", 502, "malformed HTTP status"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			backend, calls := testkit.HTTPBackend(t, testkit.Says(c.answer))
			addr, log := startGateway(t, "-backends", backend)
			for i := range 2 {
				status, body, err := get(t, "http://"+addr+"/page")
				if status != c.status && (c.status != 0 || err == nil) {
					t.Errorf("request %d: got %d %q, %v, want %d", i, status, body, err, c.status)
				}
			}
			if calls.Load() < 2 {
				t.Error("the second request was answered from what the first got")
			}
			if lines := linesOf(t, log, " target=/page ", 2); !strings.Contains(lines[0], "level=ERROR") || !strings.Contains(lines[0], c.cause) {
				t.Errorf("the log does not name the cause %q: %s", c.cause, lines[0])
			}
		})
	}
}

func TestBackendsThatAreNotThere(t *testing.T) {
	cases := map[string]struct{ backend, cause string }{
		"refused":      {fmt.Sprintf("http://127.0.0.1:%d", servertest.FreePort(t)), "connection refused"},
		"unknown host": {"http://web1.invalid:8080", "web1.invalid"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			addr, log := startGateway(t, "-backends", c.backend)
			status, _, err := get(t, "http://"+addr+"/")
			if status != 502 || err != nil {
				t.Errorf("got %d, %v, want 502", status, err)
			}
			if lines := linesOf(t, log, " target=/ ", 1); !strings.Contains(lines[0], "level=ERROR") || !strings.Contains(lines[0], c.cause) {
				t.Errorf("the log does not name the cause %q: %s", c.cause, lines[0])
			}
		})
	}
}

// TestErrorPage: the operator's page for browsers, JSON for programs, both
// never stored.
func TestErrorPage(t *testing.T) {
	page := filepath.Join(t.TempDir(), "sorry.html")
	if err := os.WriteFile(page, []byte("<h1>Back soon</h1>"), 0o600); err != nil {
		t.Fatal(err)
	}
	addr, _ := startGateway(t, "-backends", fmt.Sprintf("http://127.0.0.1:%d", servertest.FreePort(t)), "-error-page", "502="+page, "-error-page", "503="+page)
	for accept, want := range map[string]string{"text/html,*/*": "<h1>Back soon</h1>", "application/json": `"status":50`} {
		req, err := http.NewRequestWithContext(t.Context(), "GET", "http://"+addr+"/", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Accept", accept)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || !strings.Contains(string(body), want) || resp.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: got %s %q, %v", accept, resp.Status, body, err)
		}
	}
}

// TestStickyOverGateways: gateways on one Redis or memcached believe each
// other's pins.
func TestStickyOverGateways(t *testing.T) {
	stores := map[string]func() []string{
		"redis":     func() []string { return []string{"-redis", "redis://" + servertest.Redis(t).Addr} },
		"memcached": func() []string { return []string{"-memcached", servertest.Memcached(t).Addr} },
	}
	for name, store := range stores {
		t.Run(name, func(t *testing.T) {
			web := make([]string, 4)
			for i := range web {
				web[i] = visitorBackend(t, fmt.Sprint("web", i))
			}
			flags := append([]string{"-backends", strings.Join(web, ","), "-sticky", "pin"}, store()...)
			one, _ := startGateway(t, flags...)
			two, _ := startGateway(t, flags...)
			for range 8 {
				resp, first := ask(t, "http://"+one+"/", nil)
				cookies := resp.Cookies()
				for range 3 {
					if _, again := ask(t, "http://"+two+"/", cookies); again != first {
						t.Fatalf("the other gateway sent a visitor of %s to %s", first, again)
					}
				}
			}
		})
	}
}

func TestGatewayServesWithoutItsStore(t *testing.T) {
	flags := []string{"-backends", visitorBackend(t, "web1"), "-sticky", "pin", "-redis", fmt.Sprintf("redis://127.0.0.1:%d", servertest.FreePort(t))}
	addr, log := startGateway(t, flags...)
	if _, who := ask(t, "http://"+addr+"/", nil); who != "web1" {
		t.Errorf("got %q", who)
	}
	if !strings.Contains(log.String(), "-sticky-key-file") || !strings.Contains(log.String(), "connection refused") {
		t.Errorf("the log does not say what is lost and why: %s", log)
	}
}

func TestPortInUse(t *testing.T) {
	l := testkit.Listen(t)
	for _, flag := range []string{"-listen", "-status"} {
		var errs testkit.Log
		args := []string{"-listen", "127.0.0.1:0", "-backends", "http://127.0.0.1:1", flag, l.Addr().String()}
		if code := run(t.Context(), args, io.Discard, &errs); code != 2 || !strings.Contains(errs.String(), flag+" ") ||
			!strings.Contains(errs.String(), "address already in use: want a free port") {
			t.Errorf("%s: exit code %d, %s", flag, code, errs.String())
		}
	}
}

func TestCacheFlags(t *testing.T) {
	var rendered atomic.Int64
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/stated" {
			w.Header().Set("Cache-Control", "max-age=60")
		}
		fmt.Fprintf(w, "page %d", rendered.Add(1))
	}))
	t.Cleanup(backend.Close)
	cases := map[string]struct {
		flags  []string
		path   string
		cookie *http.Cookie
		same   bool
	}{
		"a stated lifetime":        {nil, "/stated", nil, true},
		"no lifetime":              {nil, "/plain", nil, false},
		"no lifetime, -cache-ttl":  {[]string{"-cache-ttl", "60s"}, "/plain", nil, true},
		"-cache-bypass-cookie":     {[]string{"-cache-bypass-cookie", "login"}, "/stated", &http.Cookie{Name: "login", Value: "1"}, false},
		"a family of cookies":      {[]string{"-cache-bypass-cookie", "wordpress_logged_in_*"}, "/stated", &http.Cookie{Name: "wordpress_logged_in_5f", Value: "1"}, false},
		"a cookie of analytics":    {nil, "/stated", &http.Cookie{Name: "_ga_X1", Value: "1"}, true},
		"another cookie":           {[]string{"-cache-bypass-cookie", "login"}, "/stated", nil, true},
		"no cache":                 {[]string{"-cache", "0"}, "/stated", nil, false},
		"a cookie of no known use": {nil, "/stated", &http.Cookie{Name: "x", Value: "1"}, false},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			addr, _ := startGateway(t, append([]string{"-backends", backend.URL}, c.flags...)...)
			var cookies []*http.Cookie
			if c.cookie != nil {
				cookies = append(cookies, c.cookie)
			}
			_, first := ask(t, "http://"+addr+c.path, cookies)
			_, second := ask(t, "http://"+addr+c.path, cookies)
			if (first == second) != c.same {
				t.Errorf("%q, then %q, want the same: %t", first, second, c.same)
			}
		})
	}
}

// TestBypassForPHPSessions: who is logged in gets a fresh answer, who is not
// gets the shared one, and when the store is out everybody counts as logged in.
func TestBypassForPHPSessions(t *testing.T) {
	store := servertest.Redis(t)
	client := redis.NewClient(&redis.Options{Addr: store.Addr})
	defer client.Close()
	const member, guest = "aaaaaaaaaaaaaaaaaaaaaaaaaa", "bbbbbbbbbbbbbbbbbbbbbbbbbb"
	for id, data := range map[string]string{member: `user|s:3:"ada";`, guest: `lang|s:2:"de";user|N;`} {
		if err := client.Set(t.Context(), "PHPREDIS_SESSION:"+id, data, time.Hour).Err(); err != nil {
			t.Fatal(err)
		}
	}
	var rendered atomic.Int64
	backend := backendFunc(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "public, s-maxage=60")
		fmt.Fprintf(w, "page %d", rendered.Add(1))
	})
	addr, _ := startGateway(t, "-backends", backend, "-redis", "redis://"+store.Addr, "-cache-bypass-session", "user")
	visit := func(id string) string {
		_, body := ask(t, "http://"+addr+"/", []*http.Cookie{{Name: "PHPSESSID", Value: id}})
		return body
	}
	shared := visit(guest)
	if again := visit(guest); again != shared {
		t.Errorf("a guest got %q, then %q", shared, again)
	}
	if own := visit(member); own == shared {
		t.Errorf("a member got the guests' %q", own)
	}
	store.Kill()
	if own := visit(guest); own == shared {
		t.Errorf("nobody knows who it is, and yet %q is shared", own)
	}
}

func TestPurgeOnlyFromThoseAllowed(t *testing.T) {
	var rendered atomic.Int64
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		fmt.Fprintf(w, "page %d %s", rendered.Add(1), r.Method)
	}))
	t.Cleanup(backend.Close)
	for allowed, flags := range map[bool][]string{true: {"-purge-from", "127.0.0.0/8"}, false: {"-purge-from", "192.0.2.0/24"}} {
		// With an origin it is claimed that admin requests reach nothing else.
		addr, _ := startGateway(t, append([]string{"-backends", backend.URL, "-origin", backend.URL}, flags...)...)
		_, first := ask(t, "http://"+addr+"/", nil)
		req, err := http.NewRequestWithContext(t.Context(), "PURGE", "http://"+addr+"/", nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		_, second := ask(t, "http://"+addr+"/", nil)
		if allowed != (resp.StatusCode < 300) || allowed != (first != second) {
			t.Errorf("allowed %t: PURGE answered %s, the page was %q, then %q", allowed, resp.Status, first, second)
		}
	}
}

// get returns the status, 0 if the answer broke off.
func get(t *testing.T, url string) (status int, body string, err error) {
	t.Helper()
	client := &http.Client{Timeout: 20 * time.Second}
	resp, err := client.Get(url)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, string(b), err
	}
	return resp.StatusCode, string(b), nil
}

func ask(t *testing.T, url string, cookies []*http.Cookie) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), "GET", url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range cookies {
		req.AddCookie(c)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(b)
}

// visitorBackend sets a cookie of its own, as an application with sessions does.
func visitorBackend(t *testing.T, name string) (url string) {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.SetCookie(w, &http.Cookie{Name: "app", Value: name})
		_, _ = io.WriteString(w, name)
	}))
	t.Cleanup(s.Close)
	return s.URL
}

// linesOf returns the log lines that contain mark, which must be want: one a
// request. A line is written when its request has ended, which the client
// may see first, so it is waited for.
func linesOf(t *testing.T, log *testkit.Log, mark string, want int) (lines []string) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); len(lines) < want; time.Sleep(5 * time.Millisecond) {
		lines = nil
		for line := range strings.Lines(log.String()) {
			if strings.Contains(line, mark) {
				lines = append(lines, line)
			}
		}
		if len(lines) > want || len(lines) < want && time.Now().After(deadline) {
			t.Fatalf("%d lines with %s, want %d: %s", len(lines), mark, want, log)
		}
	}
	return lines
}
