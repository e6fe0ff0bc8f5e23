//go:build e2e

package main

import (
	"bytes"
	"context"
	"embed"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/http/cookiejar"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"text/template"
	"time"

	"github.com/foretier/foretier/internal/servertest"
	"github.com/foretier/foretier/internal/testkit"
)

// These tests run the gateway as an operator would, as a process, in front of
// real Apache servers with mod_php, and talk to it through curl and sockets:
//
//	make e2e

//go:embed testdata/docroot
var docroot embed.FS

// apacheConf is a whole Apache: prefork and mod_php as Debian ships them, on a
// port and in a folder of its own. Its keep-alive is Apache's default of 5 s.
var apacheConf = template.Must(template.New("apache").Parse(`
ServerName localhost
Listen 127.0.0.1:{{.Port}}
PidFile {{.Dir}}/apache.pid
ErrorLog {{.Dir}}/error.log
LoadModule mpm_prefork_module /usr/lib/apache2/modules/mod_mpm_prefork.so
LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so
LoadModule mime_module /usr/lib/apache2/modules/mod_mime.so
LoadModule dir_module /usr/lib/apache2/modules/mod_dir.so
LoadModule env_module /usr/lib/apache2/modules/mod_env.so
LoadModule php_module {{.PHP}}
User www-data
Group www-data
StartServers 4
MaxRequestWorkers {{.Workers}}
KeepAliveTimeout 5
TypesConfig /etc/mime.types
DirectoryIndex index.php
DocumentRoot {{.Dir}}/htdocs
SetEnv SERVER_LABEL {{.Label}}
SetEnv ORDERS_FILE {{.Dir}}/sessions/orders
<Directory {{.Dir}}/htdocs>
    Require all granted
</Directory>
<FilesMatch "\.php$">
    SetHandler application/x-httpd-php
</FilesMatch>
php_admin_value session.save_path {{.Dir}}/sessions
`))

type apache struct {
	*servertest.Server
	dir string
}

func (a apache) url() string { return "http://" + a.Addr }

func startApache(t *testing.T, label string) apache {
	t.Helper()
	// Not t.TempDir: www-data must be able to enter it.
	dir, err := os.MkdirTemp("", "e2e-apache-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	for _, d := range []string{dir, filepath.Join(dir, "sessions"), filepath.Join(dir, "htdocs")} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(dir, "sessions"), 0o777); err != nil {
		t.Fatal(err)
	}
	root, err := fs.Sub(docroot, "testdata/docroot")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(dir, "htdocs")); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(filepath.Join(dir, "htdocs"), root); err != nil {
		t.Fatal(err)
	}
	modules, err := filepath.Glob("/usr/lib/apache2/modules/libphp*.so")
	if err != nil || len(modules) == 0 {
		t.Fatalf("no mod_php is installed: make install-e2e (%v)", err)
	}
	port := servertest.FreePort(t)
	var conf bytes.Buffer
	err = apacheConf.Execute(&conf, map[string]any{"Port": port, "Dir": dir, "PHP": modules[0], "Workers": 50, "Label": label})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "apache.conf")
	if err := os.WriteFile(file, conf.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	return apache{servertest.Start(t, port, "apache2", "-DFOREGROUND", "-f", file), dir}
}

// farm is three Apaches with the gateway in front: web0 is the origin.
type farm struct {
	web     [3]apache
	gateway *servertest.Server
	status  string // host:port
}

func startFarm(t *testing.T, flags ...string) farm {
	t.Helper()
	var f farm
	for i := range f.web {
		f.web[i] = startApache(t, fmt.Sprintf("web%d", i))
	}
	bin := buildGateway(t)
	port := servertest.FreePort(t)
	f.status = fmt.Sprintf("127.0.0.1:%d", servertest.FreePort(t))
	f.gateway = servertest.Start(t, port, append([]string{bin,
		"-listen", fmt.Sprintf("127.0.0.1:%d", port),
		"-backends", f.web[1].url() + "," + f.web[2].url(),
		"-origin", f.web[0].url(),
		"-sticky", "pin",
		"-purge-from", "127.0.0.1/32",
		"-status", f.status,
	}, flags...)...)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the gateway's log:\n%s", tail(f.gateway.Output(), 4000))
		}
	})
	return f
}

// buildGateway returns the program.
func buildGateway(t *testing.T) (file string) {
	t.Helper()
	file = filepath.Join(t.TempDir(), "gateway")
	if out, err := exec.Command("go", "build", "-o", file, ".").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return file
}

func tail(s string, n int) string {
	if len(s) > n {
		return "..." + s[len(s)-n:]
	}
	return s
}

func (f farm) url(path string) string { return "http://" + f.gateway.Addr + path }

// curl returns what curl prints.
func curl(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.Command(servertest.Require(t, "curl"),
		append([]string{"-sS", "--max-time", "20", "--path-as-is"}, args...)...).CombinedOutput()
	if err != nil {
		t.Errorf("curl %q: %v\n%s", args, err, out)
	}
	return string(out)
}

func TestE2E(t *testing.T) {
	f := startFarm(t)
	t.Run("balances over the application servers", f.balances)
	t.Run("tells the backend who asked", f.forwards)
	t.Run("keeps a PHP session on its server", f.sticks)
	t.Run("sends admin to the origin alone", f.admin)
	t.Run("caches what may be cached", f.caches)
	t.Run("keeps visitors apart", f.apart)
	t.Run("serves static files", f.static)
	t.Run("answers bad requests itself", f.badRequests)
	t.Run("loses no GET while a server stops and starts", f.restart)
	t.Run("does not let others serve admin when the origin is down", f.originDown)
	t.Run("ends in order", f.ends)
}

type who struct{ Server, For, Proto, Host, Cookie string }

func askWho(t *testing.T, args ...string) (w who) {
	t.Helper()
	out := curl(t, args...)
	if err := json.Unmarshal([]byte(out), &w); err != nil {
		t.Fatalf("%v in %q", err, out)
	}
	return w
}

func (f farm) balances(t *testing.T) {
	seen := make(map[string]int)
	for range 40 {
		seen[askWho(t, f.url("/who.php")).Server]++
	}
	if len(seen) != 2 || seen["web1"] < 8 || seen["web2"] < 8 {
		t.Errorf("40 requests went to %v, want web1 and web2 alike", seen)
	}
}

func (f farm) forwards(t *testing.T) {
	got := askWho(t, "-H", "X-Forwarded-For: 8.8.8.8", "-H", "X-Forwarded-Proto: https", "-H", "Host: shop.example", "-b", "a=1", f.url("/who.php"))
	if got.For != "127.0.0.1" || got.Proto != "http" || got.Host != "shop.example" || got.Cookie != "a=1" {
		t.Errorf("the backend was told %+v", got)
	}
}

func (f farm) sticks(t *testing.T) {
	for visitor := range 6 {
		jar := filepath.Join(t.TempDir(), fmt.Sprint("jar", visitor))
		var first string
		for visit := 1; visit <= 8; visit++ {
			out := curl(t, "-b", jar, "-c", jar, f.url("/session.php"))
			var got struct {
				Server string
				Visits int
			}
			if err := json.Unmarshal([]byte(out), &got); err != nil {
				t.Fatalf("%v in %q", err, out)
			}
			if first == "" {
				first = got.Server
			}
			if got.Server != first || got.Visits != visit {
				t.Fatalf("visit %d of visitor %d: %+v, started at %s", visit, visitor, got, first)
			}
		}
	}
}

func (f farm) admin(t *testing.T) {
	for _, target := range []string{
		"/admin/", "/admin/index.php", "/cron.php", "/%61dmin/", "//admin/", "/ADMIN/", "/./admin/", "/x/../admin/",
		"/index.php/admin", "/index.php/%61dmin", "/admin;x/", "/%2561dmin/", "/admin%2f", "/cron.php/x", "//cron.php", "/style.css/../admin/",
	} {
		out := curl(t, f.url(target))
		if strings.Contains(out, "web1") || strings.Contains(out, "web2") {
			t.Errorf("%s was answered by an application server: %s", target, out)
		}
	}
	for target, want := range map[string]string{"/admin/": "admin at web0 /admin/\n", "/cron.php": "cron at web0 /cron.php\n"} {
		if got := curl(t, f.url(target)); got != want {
			t.Errorf("%s: got %q, want %q", target, got, want)
		}
	}
	if got := askWho(t, f.url("/who.php?r=/admin")).Server; got == "web0" {
		t.Errorf("an ordinary page came from the origin")
	}
}

func (f farm) caches(t *testing.T) {
	first := curl(t, f.url("/page.php?id=1"))
	for range 5 {
		if again := curl(t, f.url("/page.php?id=1")); again != first {
			t.Errorf("not cached: %q, then %q", first, again)
		}
	}
	if got := curl(t, f.url("/page.php?id=1&utm_source=mail&gclid=7")); got != first {
		t.Errorf("a marketing parameter made another copy: %q", got)
	}
	if other := curl(t, f.url("/page.php?id=2")); other == first {
		t.Errorf("the query is not in the key")
	}
	if got := curl(t, "-H", "Host: other.example", f.url("/page.php?id=1")); got == first {
		t.Errorf("the host is not in the key")
	}
	curl(t, "-X", "PURGE", f.url("/page.php?id=1"))
	if again := curl(t, f.url("/page.php?id=1")); again == first {
		t.Errorf("the old page after PURGE")
	}
	if a, b := curl(t, f.url("/plain.php")), curl(t, f.url("/plain.php")); a == b {
		t.Errorf("an answer without lifetime was cached: %q", a)
	}
}

func (f farm) apart(t *testing.T) {
	for range 5 {
		out := curl(t, "-D", "-", f.url("/session.php"))
		if !strings.Contains(out, `"visits":1`) || strings.Count(strings.ToLower(out), "set-cookie: phpsessid") != 1 {
			t.Errorf("a visitor without a cookie got another's session:\n%s", out)
		}
	}
}

func (f farm) static(t *testing.T) {
	out := curl(t, "-D", "-", f.url("/style.css"))
	if !strings.Contains(out, "HTTP/1.1 200") || !strings.Contains(out, "text/css") || !strings.HasSuffix(out, "body { color: #222 }\n") {
		t.Errorf("style.css: %s", out)
	}
	if out := curl(t, "-o", os.DevNull, "-w", "%{http_code}", f.url("/missing.css")); out != "404" {
		t.Errorf("missing.css: %s", out)
	}
}

func (f farm) badRequests(t *testing.T) {
	cases := map[string]struct{ raw, want string }{
		"no HTTP":          {"hello\r\n\r\n", "400"},
		"two hosts":        {"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", "400"},
		"long target":      {"GET /" + strings.Repeat("a", 9000) + " HTTP/1.1\r\nHost: a\r\n\r\n", "414"},
		"large head":       {"GET / HTTP/1.1\r\nHost: a\r\nX: " + strings.Repeat("a", 40<<10) + "\r\n\r\n", "431"},
		"above the root":   {"GET /../admin HTTP/1.1\r\nHost: a\r\n\r\n", "400"},
		"smuggled framing": {"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n", "501"},
	}
	for name, c := range cases {
		conn, err := net.DialTimeout("tcp", f.gateway.Addr, 5*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		conn.SetDeadline(time.Now().Add(10 * time.Second))
		io.WriteString(conn, c.raw)
		answer := make([]byte, 12)
		_, err = io.ReadFull(conn, answer)
		conn.Close()
		if err != nil || string(answer) != "HTTP/1.1 "+c.want {
			t.Errorf("%s: got %q, %v, want %s", name, answer, err, c.want)
		}
	}
}

// restart keeps a load of GETs going while web1 is killed, started again,
// stopped in order and started again.
func (f farm) restart(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var ok, failed atomic.Int64
	var firstFailure sync.Once
	var wg sync.WaitGroup
	transport := &http.Transport{MaxIdleConnsPerHost: 16}
	defer transport.CloseIdleConnections()
	for i := range 12 {
		jar, _ := cookiejar.New(nil) // never fails without options
		client := &http.Client{Transport: transport, Timeout: 20 * time.Second}
		path := "/who.php"
		switch i % 3 {
		case 1: // pinned visitors
			client.Jar, path = jar, "/session.php"
		case 2:
			path = "/slow.php?ms=50"
		}
		wg.Go(func() {
			for ctx.Err() == nil {
				resp, err := client.Get(f.url(path))
				if err == nil {
					_, err = io.Copy(io.Discard, resp.Body)
					resp.Body.Close()
				}
				if err != nil || resp.StatusCode != http.StatusOK {
					failed.Add(1)
					firstFailure.Do(func() { t.Errorf("GET %s: %v, %+v", path, err, resp) })
					continue
				}
				ok.Add(1)
			}
		})
	}
	f.waitFor(t, &ok, 300)
	f.web[1].Kill()
	f.waitFor(t, &ok, 500)
	f.web[1].Restart()
	f.waitFor(t, &ok, 500)
	f.waitForServer(t, "web1")
	if err := syscall.Kill(f.web[1].PID(), syscall.SIGTERM); err != nil { // as systemctl stop does
		t.Fatal(err)
	}
	f.waitFor(t, &ok, 500)
	f.web[1].Kill()
	f.web[1].Restart()
	f.waitFor(t, &ok, 300)
	f.waitForServer(t, "web1")
	cancel()
	wg.Wait()
	t.Logf("%d GETs answered, %d failed", ok.Load(), failed.Load())
	if failed.Load() > 0 {
		t.Errorf("%d GETs failed", failed.Load())
	}
}

// waitFor returns after n further successful requests.
func (f farm) waitFor(t *testing.T, ok *atomic.Int64, n int64) {
	t.Helper()
	until(t, fmt.Sprintf("%d further requests", n), func(start int64) func() bool {
		return func() bool { return ok.Load() >= start+n }
	}(ok.Load()))
}

func (f farm) waitForServer(t *testing.T, name string) {
	t.Helper()
	until(t, name+" back in rotation", func() bool { return askWho(t, f.url("/who.php")).Server == name })
}

// until polls a process of its own: there is no clock to fake.
func until(t *testing.T, what string, done func() bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	timeout := time.After(60 * time.Second)
	for !done() {
		select {
		case <-tick.C:
		case <-timeout:
			t.Fatalf("waited a minute for %s", what)
		}
	}
}

func (f farm) originDown(t *testing.T) {
	f.web[0].Kill()
	defer f.web[0].Restart()
	for _, target := range []string{"/admin/", "/%61dmin/", "/index.php/admin"} {
		out := curl(t, "-w", "%{http_code}", f.url(target))
		if !strings.HasSuffix(out, "502") && !strings.HasSuffix(out, "503") || strings.Contains(out, "web") {
			t.Errorf("%s without its server: %s", target, out)
		}
	}
	if got := askWho(t, f.url("/who.php")).Server; got == "web0" {
		t.Errorf("impossible: %s", got)
	}
	testkit.Within(t, testkit.Patience, "a line that says why", func() bool { return strings.Contains(f.gateway.Output(), "connection refused") })
}

// report is what the tests read of /status.json.
type report struct {
	Parts []struct {
		Kind    string
		Metrics []struct {
			Name  string
			Value float64
		}
	}
}

func (f farm) report(t *testing.T) (r report) {
	t.Helper()
	if err := json.Unmarshal([]byte(curl(t, "http://"+f.status+"/status.json")), &r); err != nil {
		t.Fatalf("status.json: %v", err)
	}
	return r
}

// ends sends SIGTERM while a request runs: it is answered, then the gateway
// exits with 0.
func (f farm) ends(t *testing.T) {
	if out := curl(t, "-o", os.DevNull, "-w", "%{http_code}", "http://"+f.status+"/readyz"); out != "200" {
		t.Errorf("readyz: %s", out)
	}
	if parts := f.report(t).Parts; len(parts) < 4 {
		t.Errorf("status.json: %+v", parts)
	}
	answer := make(chan string, 1)
	go func() { answer <- curl(t, f.url("/slow.php?ms=1500")) }()
	until(t, "the request to arrive", func() bool {
		for _, part := range f.report(t).Parts {
			for _, m := range part.Metrics {
				if part.Kind == "edge" && m.Name == "requests_in_flight" && m.Value > 0 {
					return true
				}
			}
		}
		return false
	})
	if err := syscall.Kill(f.gateway.PID(), syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if got := <-answer; got != "web1\n" && got != "web2\n" {
		t.Errorf("the request that ran during SIGTERM: %q", got)
	}
	if code := f.gateway.Wait(); code != 0 {
		t.Errorf("exit code %d after SIGTERM", code)
	}
}
