//go:build e2e

package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/foretier/foretier/internal/servertest"
	"github.com/foretier/foretier/internal/testkit"
)

// startProcess starts a gateway as a process in front of backends.
func startProcess(t *testing.T, bin, backends string, flags ...string) *servertest.Server {
	t.Helper()
	port := servertest.FreePort(t)
	s := servertest.Start(t, port, append([]string{bin, "-listen", fmt.Sprintf("127.0.0.1:%d", port), "-backends", backends, "-linger", "0"}, flags...)...)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("a gateway's log:\n%s", tail(s.Output(), 4000))
		}
	})
	return s
}

// askAt asks a gateway, with lines such as "X-Api-Key: a".
func askAt(t *testing.T, s *servertest.Server, path string, lines ...string) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequest("GET", "http://"+s.Addr+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range lines {
		name, value, _ := strings.Cut(line, ": ")
		r.Header.Add(name, value)
	}
	res, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, string(body)
}

// TestE2EGatewaysShareALimit on a real Redis: what one has let through counts at the other,
// by key; while Redis stands still, or is gone, nobody waits and each counts for itself;
// and then they share it again. Neither Redis nor a log has a key.
func TestE2EGatewaysShareALimit(t *testing.T) {
	web, redis, bin := startApache(t, "web1"), servertest.Redis(t), buildGateway(t)
	flags := []string{"-trust", "127.0.0.1", "-limit", "/who.php 6/h burst 6 header X-Api-Key", "-limit-redis", "redis://" + redis.Addr}
	tier := []*servertest.Server{startProcess(t, bin, web.url(), flags...), startProcess(t, bin, web.url(), flags...)}
	clients := 0
	served := func(key string) (n int) {
		clients++ // one for each key, who otherwise had sent too much under all of them
		for i := range 16 {
			begin := time.Now()
			res, _ := askAt(t, tier[i%2], "/who.php", "X-Api-Key: "+key, fmt.Sprintf("X-Forwarded-For: 198.51.%d.%d", clients/250, clients%250))
			if took := time.Since(begin); took > 5*time.Second {
				t.Errorf("a request took %v", took)
			}
			switch res.StatusCode {
			case http.StatusOK:
				n++
			case http.StatusTooManyRequests:
				if res.Header.Get("Retry-After") == "" {
					t.Error("429 without a Retry-After")
				}
			default:
				t.Errorf("%s", res.Status)
			}
			if got := res.Header.Get("RateLimit-Policy"); got != `"shop, limit 1";q=6;w=3600` {
				t.Errorf("RateLimit-Policy: %s", got)
			}
		}
		return n
	}
	// In as many tries as it takes Redis to be asked again, and within 25 ms.
	shares := func(what string) {
		t.Helper()
		n := 0
		testkit.Within(t, testkit.Patience, what, func() bool {
			n++
			return served(fmt.Sprintf("s3cret-%s-%d", strings.Fields(what)[0], n)) == 6
		})
	}
	shares("first")
	redis.Pause()
	alone := 0
	testkit.Within(t, testkit.Patience, "each for itself", func() bool {
		alone++
		return served(fmt.Sprint("s3cret-paused-", alone)) == 12
	})
	redis.Resume()
	shares("again, after it stood still")
	redis.Kill()
	testkit.Within(t, testkit.Patience, "each for itself", func() bool {
		alone++
		return served(fmt.Sprint("s3cret-killed-", alone)) == 12
	})
	redis.Restart()
	shares("anew, after it was gone")
	keys, err := exec.Command("redis-cli", "-p", redis.Addr[strings.LastIndexByte(redis.Addr, ':')+1:], "keys", "*").Output()
	if err != nil || !strings.Contains(string(keys), "foretier:limit:") || strings.Contains(string(keys), "s3cret") {
		t.Errorf("in Redis: %s, %v", keys, err)
	}
	for _, g := range tier {
		if log := g.Output(); strings.Contains(log, "s3cret") || !strings.Contains(log, "Redis does not answer") || !strings.Contains(log, "Redis answers") {
			t.Errorf("the log: %s", tail(log, 4000))
		}
	}
}

// TestE2EPasswords of a file that htpasswd has written, which is read again, and of an
// nginx that is asked: nobody passes without one, nor once nginx is gone.
func TestE2EPasswords(t *testing.T) {
	web, bin := startApache(t, "web1"), buildGateway(t)
	// Not t.TempDir: nginx's workers must be able to enter it.
	dir, err := os.MkdirTemp("", "e2e-nginx-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "htpasswd")
	write := func(name, password string) {
		t.Helper()
		if out, err := exec.Command(servertest.Require(t, "htpasswd"), "-cbB", file, name, password).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		if err := os.Chmod(file, 0o644); err != nil { // for nginx's workers
			t.Fatal(err)
		}
	}
	write("ann", "right")
	port := servertest.FreePort(t)
	conf := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(conf, fmt.Appendf(nil, `
daemon off; pid %[1]s/nginx.pid; error_log %[1]s/error.log;
events {}
http {
	access_log off;
	client_body_temp_path %[1]s/a; proxy_temp_path %[1]s/b; fastcgi_temp_path %[1]s/c; uwsgi_temp_path %[1]s/d; scgi_temp_path %[1]s/e;
	server {
		listen 127.0.0.1:%[2]d;
		location = /verify {
			auth_basic tools; auth_basic_user_file %[3]s;
			add_header X-Remote-User $remote_user; add_header X-Seen "$http_x_forwarded_method $http_x_forwarded_uri $http_x_forwarded_host";
			empty_gif;
		}
	}
}`, dir, port, file), 0o644); err != nil {
		t.Fatal(err)
	}
	nginx := servertest.Start(t, port, "nginx", "-e", filepath.Join(dir, "error.log"), "-c", conf)
	asks := startProcess(t, bin, web.url(), "-ask", "http://"+nginx.Addr+"/verify", "-ask-paths", "/user.php", "-ask-fields", "X-Remote-User,X-Seen")
	own := startProcess(t, bin, web.url(), "-basic", file)

	login := func(name, password string) string {
		r := &http.Request{Header: http.Header{}}
		r.SetBasicAuth(name, password)
		return "Authorization: " + r.Header.Get("Authorization")
	}
	for name, g := range map[string]*servertest.Server{"ask": asks, "basic": own} {
		for _, lines := range [][]string{nil, {login("ann", "wrong")}, {login("bob", "right")}, {"X-Remote-User: ann"}} {
			res, body := askAt(t, g, "/user.php", lines...)
			if res.StatusCode != http.StatusUnauthorized || !strings.HasPrefix(res.Header.Get("WWW-Authenticate"), "Basic realm=") || strings.Contains(body, "X-") || res.Header.Get("Cache-Control") != "no-store" {
				t.Errorf("%s, %q: %s %v %s", name, lines, res.Status, res.Header, body)
			}
		}
		res, body := askAt(t, g, "/user.php", login("ann", "right"), "X-Remote-User: root", "X-Seen: x")
		if res.StatusCode != http.StatusOK || !strings.Contains(strings.ToLower(body), "x-remote-user: ann") || strings.Contains(body, "root") {
			t.Errorf("%s: %s %s", name, res.Status, body)
		}
		if seen := fmt.Sprintf("x-seen: get /user.php %s", g.Addr); name == "ask" && !strings.Contains(strings.ToLower(body), seen) {
			t.Errorf("the backend is told %s, want %s", body, seen)
		}
	}
	if res, _ := askAt(t, asks, "/who.php"); res.StatusCode != http.StatusOK {
		t.Errorf("what nobody is asked for: %s", res.Status)
	}
	write("ben", "new")
	if err := syscall.Kill(own.PID(), syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	testkit.Within(t, testkit.Patience, "the new password", func() bool {
		res, _ := askAt(t, own, "/who.php", login("ben", "new"))
		return res.StatusCode == http.StatusOK
	})
	if res, _ := askAt(t, own, "/who.php", login("ann", "right")); res.StatusCode != http.StatusUnauthorized {
		t.Errorf("who is no longer in the file: %s", res.Status)
	}
	nginx.Kill()
	if res, body := askAt(t, asks, "/user.php", login("ben", "new")); res.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("with nobody to be asked: %s %s", res.Status, body)
	}
}

// TestE2EAnswers of a real Apache: what it says of itself is taken off, what is to be said
// is there, on what is cached as well, and its errors are the operator's pages.
func TestE2EAnswers(t *testing.T) {
	web, bin, pages := startApache(t, "web1"), buildGateway(t), t.TempDir()
	if err := os.WriteFile(filepath.Join(pages, "404.html"), []byte("<h1>gone fishing"), 0o600); err != nil {
		t.Fatal(err)
	}
	plain := startProcess(t, bin, web.url())
	g := startProcess(t, bin, web.url(), "-answer", "X-Robots-Tag: noindex", "-answer", "Server:", "-error-pages", pages)
	if res, _ := askAt(t, plain, "/who.php"); !strings.Contains(res.Header.Get("Server"), "Apache") {
		t.Fatalf("Apache says nothing of itself: %v", res.Header)
	}
	for range 2 {
		for _, path := range []string{"/who.php", "/missing"} {
			res, body := askAt(t, g, path)
			if res.Header.Get("X-Robots-Tag") != "noindex" || strings.Contains(res.Header.Get("Server"), "Apache") {
				t.Errorf("%s: %v", path, res.Header)
			}
			if path == "/missing" && (res.StatusCode != http.StatusNotFound || body != "<h1>gone fishing") {
				t.Errorf("%s: %s %s", path, res.Status, body)
			}
		}
	}
	web.Kill()
	if res, body := askAt(t, g, "/missing-too"); res.StatusCode != http.StatusBadGateway || strings.Contains(body, "fishing") {
		t.Errorf("with Apache gone: %s %s", res.Status, body)
	}
}
