package fcgi

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/foretier/foretier/balancer"
	"github.com/foretier/foretier/health"
	"github.com/foretier/foretier/internal/servertest"
	"github.com/foretier/foretier/internal/testkit"
)

// dump is a script that shows what it gets.
const dump = `<?php header('Content-Type: application/json'); ksort($_SERVER);
echo json_encode(['server' => $_SERVER, 'body' => base64_encode(file_get_contents('php://input')), 'post' => $_POST, 'files' => array_map(fn($f) => $f['size'], $_FILES), 'get' => $_GET, 'cookie' => $_COOKIE],
	JSON_INVALID_UTF8_SUBSTITUTE | JSON_THROW_ON_ERROR);`

// poolOf returns a site, and a pool of its backends.
func poolOf(t testing.TB, root string, o Options, p balancer.Options, urls ...string) (*Site, *balancer.Pool) {
	t.Helper()
	site, err := New(root, o)
	if err != nil {
		t.Fatal(err)
	}
	p.Transport = site.Transport
	pool, err := balancer.New(balancer.Backends(urls...), p)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { pool.Close() })
	return site, pool
}

// phpOf serves a root by php-fpm, through a pool and the site's files.
func phpOf(t testing.TB, root string, p balancer.Options, urls ...string) *httptest.Server {
	t.Helper()
	site, pool := poolOf(t, root, Options{}, p, urls...)
	srv := httptest.NewServer(site.Files(pool))
	t.Cleanup(srv.Close)
	return srv
}

// ask sends a request as it stands, and returns the answer with its body.
func ask(t testing.TB, addr, request string) (*http.Response, string) {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, request); err != nil {
		t.Fatal(err)
	}
	method, _, _ := strings.Cut(request, " ")
	res, err := http.ReadResponse(bufio.NewReader(c), &http.Request{Method: method})
	if err != nil {
		t.Fatalf("%.100q: %v", request, err)
	}
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatalf("%.100q: %v", request, err)
	}
	return res, string(body)
}

// get asks for a target as it stands.
func get(t testing.TB, srv *httptest.Server, target string) (*http.Response, string) {
	t.Helper()
	return ask(t, srv.Listener.Addr().String(), "GET "+target+" HTTP/1.1\r\nHost: shop.example\r\nConnection: close\r\n\r\n")
}

// startNginx starts nginx in front of php-fpm.
func startNginx(t testing.TB, root, fpm string) *servertest.Server {
	t.Helper()
	dir, port := t.TempDir(), servertest.FreePort(t)
	user := ""
	if os.Getuid() == 0 {
		user = "user root;"
	}
	conf := fmt.Sprintf(`%s worker_processes 1; daemon off; pid %[2]s/pid; error_log stderr; events {}
http {
	access_log off; client_body_temp_path %[2]s/b; fastcgi_temp_path %[2]s/f; proxy_temp_path %[2]s/p; uwsgi_temp_path %[2]s/u; scgi_temp_path %[2]s/s;
	client_max_body_size 100m; include /etc/nginx/mime.types; default_type application/octet-stream;
	server {
		listen 127.0.0.1:%d; root %s; index index.php index.html;
		location / { try_files $uri $uri/ /index.php$is_args$args; }
		location ~ \.php$ { try_files $uri /index.php$is_args$args; include /etc/nginx/fastcgi_params; fastcgi_param SCRIPT_FILENAME $document_root$fastcgi_script_name; fastcgi_pass %s; }
	}
}`, user, dir, port, root, fpm)
	file := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(file, []byte(conf), 0o644); err != nil {
		t.Fatal(err)
	}
	return servertest.Start(t, port, "nginx", "-c", file)
}

// TestLikeNginx: a script gets what it gets behind nginx, and its client the same answer.
func TestLikeNginx(t *testing.T) {
	fpm := servertest.PHPFPM(t, 4)
	root := testkit.Tree(t, map[string]string{
		"index.php": dump, "a/b.php": dump, "dir/index.php": dump, "style.css": "body {}", "docs/index.html": "<p>docs", "x.bin": "\x00\x01", "page.html": "<p>", "app.js": "1", "pic.svg": "<svg/>",
		"head.php": `<?php header('X-A: 1'); header('X-A: 2', false); setcookie('a', 'b c'); header('Location: /elsewhere');`,
		"gone.php": `<?php http_response_code(410); echo 'gone';`,
		"json.php": `<?php header('Content-Type: application/json'); header('Content-Length: 2'); echo '{}';`,
		"no.php":   `<?php http_response_code(204);`,
		"same.php": `<?php http_response_code(304); header('ETag: "a"');`,
		"long.php": `<?php echo str_repeat('abcdefghij', 300000);`,
		"die.php":  `<?php echo 'a'; exit(3);`,
		"bad.php":  `<?php ini_set('display_errors', '0'); nothing();`,
		"type.php": `<?php header_remove('Content-Type'); ini_set('default_mimetype', ''); echo 'x';`,
		"auth.php": `<?php echo $_SERVER['PHP_AUTH_USER'] ?? '-', ' ', $_SERVER['PHP_AUTH_PW'] ?? '-';`,
	})
	nginx := startNginx(t, root, fpm.Addr)
	ours := phpOf(t, root, balancer.Options{Via: balancer.NoVia, Logger: new(testkit.Log).Logger()}, "fcgi://"+fpm.Addr)
	head := func(first string, fields ...string) string {
		return first + " HTTP/1.1\r\nHost: shop.example\r\nConnection: close\r\n" + strings.Join(append(fields, "\r\n"), "\r\n")
	}
	const form = "a=1&b%5B%5D=2"
	const multipart = "--x\r\nContent-Disposition: form-data; name=\"f\"; filename=\"a.txt\"\r\nContent-Type: text/plain\r\n\r\nhello\r\n--x--\r\n"
	for _, request := range []string{
		head("GET /"), head("GET /?"), head("GET /?a=b&c[]=d%20e;f&%zz"), head("GET /product/%C3%A4%2Fb?x"), head("GET /a/b.php?c"), head("GET /a/%62.php"), head("GET /a/missing.php?x"),
		head("GET /dir/"), head("HEAD /a/b.php"), head("OPTIONS /a/b.php"), head("DELETE /a/b.php"), head("PROPFIND /a/b.php"),
		head("GET /", "X-Custom: a", "Accept: text/html", "Cookie: a=1; b=%20", "User-Agent: Mozilla/5.0 (X; \"y\")", "Referer: https://shop.example/?a=b", "X-1-2: 3", "Authorization: Bearer abc", "If-None-Match: \"x\"", "Range: bytes=0-1"),
		head("GET /", "X-Long: "+strings.Repeat("x", 3000), "X-Empty:", "X-Utf: \xc3\xa4"),
		head("POST /a/b.php", "Content-Type: application/x-www-form-urlencoded", fmt.Sprint("Content-Length: ", len(form))) + form,
		head("POST /a/b.php", "Content-Type: multipart/form-data; boundary=x", fmt.Sprint("Content-Length: ", len(multipart))) + multipart,
		head("PUT /a/b.php", "Content-Type: text/plain", "Content-Length: 3") + "abc",
		head("POST /a/b.php", "Content-Length: 0"),
		head("POST /a/b.php", "Content-Length: 300000") + strings.Repeat("abc", 100_000),
		head("POST /a/b.php", "Transfer-Encoding: chunked") + "3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",
		head("GET /head.php"), head("GET /gone.php"), head("GET /json.php"), head("GET /no.php"), head("GET /same.php"), head("GET /long.php"), head("GET /die.php"), head("GET /bad.php"), head("GET /type.php"),
		head("HEAD /gone.php"), head("HEAD /json.php"), head("GET /auth.php", "Authorization: Basic YTpi"),
		head("GET /style.css"), head("GET /docs/"), head("GET /x.bin"), head("GET /page.html"), head("GET /app.js"), head("GET /pic.svg"), head("HEAD /style.css"), head("GET /style.css", "Range: bytes=1-2"), head("GET /style.css", "Range: bytes=9-"),
		head("GET /style.css", "If-None-Match: \"no\""), head("GET /style.css", "If-Modified-Since: Thu, 01 Jan 1970 00:00:00 GMT"),
		"GET / HTTP/1.0\r\n\r\n", "GET / HTTP/1.0\r\nHost: shop.example\r\n\r\n",
	} {
		wantRes, wantBody := ask(t, nginx.Addr, request)
		gotRes, gotBody := ask(t, ours.Listener.Addr().String(), request)
		name := strings.ReplaceAll(request[:min(len(request), 90)], "\r\n", " ")
		if wantRes.Header.Get("Last-Modified") != "" || wantRes.StatusCode == http.StatusRequestedRangeNotSatisfiable { // a file, of which names and words differ
			gotRes.Header.Del("Content-Type")
			wantRes.Header.Del("Content-Type")
			gotRes.Header.Del("X-Content-Type-Options")
		}
		if gotRes.StatusCode != wantRes.StatusCode || !slices.Equal(headerOf(gotRes), headerOf(wantRes)) {
			t.Errorf("%s:\n%d %q\nbehind nginx\n%d %q", name, gotRes.StatusCode, headerOf(gotRes), wantRes.StatusCode, headerOf(wantRes))
		}
		if strings.HasPrefix(wantBody, `{"server"`) {
			gotBody, wantBody = shown(t, gotBody), shown(t, wantBody)
		}
		if gotBody != wantBody && gotRes.StatusCode != http.StatusRequestedRangeNotSatisfiable {
			got, want := strings.Split(gotBody, "\n"), strings.Split(wantBody, "\n")
			for _, line := range got {
				if !slices.Contains(want, line) {
					t.Errorf("%s: here %.300s", name, line)
				}
			}
			for _, line := range want {
				if !slices.Contains(got, line) {
					t.Errorf("%s: behind nginx %.300s", name, line)
				}
			}
		}
	}
}

// headerOf is what of an answer's header is the script's or the file's.
func headerOf(res *http.Response) []string {
	var out []string
	for name, values := range res.Header {
		switch name {
		case "Server", "Date", "Connection", "Content-Length", "Etag", "Accept-Ranges":
		default:
			out = append(out, fmt.Sprint(name, values))
		}
	}
	slices.Sort(out)
	return out
}

// shown is what a script has shown, without what differs from one server to another.
func shown(t testing.TB, body string) string {
	t.Helper()
	var d struct {
		Server map[string]any
		Rest   map[string]json.RawMessage `json:"-"`
	}
	if err := json.Unmarshal([]byte(body), &d); err != nil {
		t.Fatalf("%v: %.300q", err, body)
	}
	if err := json.Unmarshal([]byte(body), &d.Rest); err != nil {
		t.Fatal(err)
	}
	maps.DeleteFunc(d.Server, func(name string, v any) bool {
		switch name {
		case "HTTP_HOST":
			return v == ""
		case "SERVER_SOFTWARE", "SERVER_NAME", "SERVER_PORT", "REMOTE_PORT", "REMOTE_USER", "REQUEST_TIME", "REQUEST_TIME_FLOAT", // the servers'
			"HTTP_CONNECTION", "HTTP_CONTENT_TYPE", "HTTP_CONTENT_LENGTH", "HTTP_TRANSFER_ENCODING", // said elsewhere (RFC 3875, section 4.1.18), or for one connection
			"HTTP_FORWARDED", "HTTP_X_FORWARDED_FOR", "HTTP_X_FORWARDED_HOST", "HTTP_X_FORWARDED_PORT", "HTTP_X_FORWARDED_PROTO", "HTTP_CDN_LOOP": // the pool's own
			return true
		}
		return false
	})
	server, err := json.MarshalIndent(d.Server, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	delete(d.Rest, "server")
	rest, err := json.Marshal(d.Rest)
	if err != nil {
		t.Fatal(err)
	}
	return string(server) + string(rest)
}

// TestScriptsOfPHP: which of them a path runs, on php-fpm itself.
func TestScriptsOfPHP(t *testing.T) {
	fpm := servertest.PHPFPM(t, 2)
	const who = `<?php echo 'ran ', __FILE__;`
	root := testkit.Tree(t, map[string]string{
		"index.php": `<?php echo 'front ', $_SERVER['REQUEST_URI'];`, "login.php": who, "admin/index.php": who, "upload/x.jpg": who, "upload/a.php": who, "wp-content/uploads/2026/evil.php": who,
		".hidden.php": who, ".git/config": "secret", ".well-known/security.txt": "Contact: x", "old.php.bak": "secret", "config.inc": "secret", "a.phtml": "secret", "a.PHP": "secret", "style.css": "css",
	})
	outside := testkit.Tree(t, map[string]string{"out.php": who, "secret.txt": "secret"})
	for link, to := range map[string]string{"link.php": outside + "/out.php", "link.txt": outside + "/secret.txt", "within.php": "login.php", "dir": outside} {
		if err := os.Symlink(to, filepath.Join(root, link)); err != nil {
			t.Fatal(err)
		}
	}
	srv := phpOf(t, root, balancer.Options{}, "fcgi://"+fpm.Socket)
	for target, want := range map[string]string{
		"/": "front /", "/login.php": "ran " + root + "/login.php", "/login.php?a=/x.php": "ran " + root + "/login.php", "/admin/": "ran " + root + "/admin/index.php", "/within.php": "ran " + root + "/login.php",
		"/style.css": "css", "/.well-known/security.txt": "Contact: x",
	} {
		if res, got := get(t, srv, target); got != want {
			t.Errorf("%s: %d %q, want %q", target, res.StatusCode, got, want)
		}
	}
	for _, target := range []string{
		"/upload/x.jpg/a.php", "/upload/x.jpg/.php", "/upload/x.jpg%2Fa.php", "/upload/a.php", "/upload/a.php/", "/Upload/a.php", "/wp-content/uploads/2026/evil.php", "/login.php/x", "/login.php/x.css", "/login.php%00.css", "/login.php%20", "/login.php.", "/login.php::$DATA",
		"/LOGIN.php", "/.hidden.php", "/.git/config", "/.well-known/../login.php", "/old.php.bak", "/config.inc", "/a.phtml", "/a.PHP", "/link.php", "/link.txt", "/dir/out.php", "/dir/secret.txt", "/dir/", "//login.php", "/./login.php", "/admin%2findex.php", "/admin/..%2flogin.php", "/admin/%2e%2e/login.php", "/ping", "/upload/x.jpg.php",
	} {
		if res, got := get(t, srv, target); got != "front "+target {
			t.Errorf("%s: %d %q, want the front controller", target, res.StatusCode, got)
		}
	}
	if res, _ := get(t, srv, "/admin?a=b"); res.StatusCode != 301 || res.Header.Get("Location") != "/admin/?a=b" {
		t.Errorf("a directory: %d %q", res.StatusCode, res.Header.Get("Location"))
	}
}

// TestARootThatMoves: a release is a link that is moved.
func TestARootThatMoves(t *testing.T) {
	fpm := servertest.PHPFPM(t, 1, "php_admin_value[opcache.enable] = 1")
	first := testkit.Tree(t, map[string]string{"index.php": "<?php echo 'one';", "a.css": "one"})
	second := testkit.Tree(t, map[string]string{"index.php": "<?php echo 'two';", "a.css": "two", "new.php": "<?php echo 'new';"})
	current := filepath.Join(t.TempDir(), "current")
	move := func(to string) {
		if err := os.Symlink(to, current+".new"); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(current+".new", current); err != nil {
			t.Fatal(err)
		}
	}
	move(first)
	srv := phpOf(t, current, balancer.Options{}, "fcgi://"+fpm.Addr)
	for target, want := range map[string]string{"/": "one", "/a.css": "one", "/new.php": "one"} {
		if _, got := get(t, srv, target); got != want {
			t.Errorf("%s: %q, want %q", target, got, want)
		}
	}
	move(second)
	for target, want := range map[string]string{"/": "two", "/a.css": "two", "/new.php": "new"} {
		if _, got := get(t, srv, target); got != want {
			t.Errorf("%s after the move: %q, want %q", target, got, want)
		}
	}
}

// TestPHPThatFails: what it logs is told, and a child that dies costs no page.
func TestPHPThatFails(t *testing.T) {
	fpm, other := servertest.PHPFPM(t, 2), servertest.PHPFPM(t, 2)
	root := testkit.Tree(t, map[string]string{
		"index.php": `<?php echo 'whole';`,
		"fatal.php": `<?php ini_set('display_errors', '0'); ini_set('log_errors', '1'); nothing();`,
		"kill.php":  `<?php $once = __DIR__ . '/died'; if (!file_exists($once)) { touch($once); exec('kill -9 ' . getmypid()); sleep(5); } echo 'whole';`,
	})
	log := new(testkit.Log)
	site, pool := poolOf(t, root, Options{Logger: log.Logger()}, balancer.Options{Logger: log.Logger()}, "fcgi://"+fpm.Addr, "fcgi://"+other.Addr)
	srv := httptest.NewServer(site.Files(pool))
	defer srv.Close()
	if res, _ := get(t, srv, "/fatal.php"); res.StatusCode != 500 {
		t.Errorf("a fatal error: %d", res.StatusCode)
	}
	log.Wants(t, "a script has logged", "script=/fatal.php", "undefined function nothing()")
	if res, got := get(t, srv, "/kill.php"); res.StatusCode != 200 || got != "whole" {
		t.Errorf("a child that dies: %d %q", res.StatusCode, got)
	}
}

// TestStreamsOfPHP: what a script flushes is there.
func TestStreamsOfPHP(t *testing.T) {
	fpm := servertest.PHPFPM(t, 2, "php_admin_value[output_buffering] = 0")
	root := testkit.Tree(t, map[string]string{
		"index.php":  "",
		"events.php": `<?php header('Content-Type: text/event-stream'); echo "data: 1\n\n"; flush(); for ($i = 0; $i < 1000 && !file_exists(__DIR__ . '/go'); $i++) { usleep(10000); clearstatcache(); } echo "data: 2\n\n";`,
		"abort.php":  `<?php ignore_user_abort(true); header('Content-Type: text/event-stream'); for ($i = 0; $i < 1000 && !connection_aborted(); $i++) { echo "data\n\n"; flush(); usleep(10000); } file_put_contents(__DIR__ . '/aborted', connection_aborted());`,
	})
	srv := phpOf(t, root, balancer.Options{}, "fcgi://"+fpm.Socket)
	res, err := http.Get(srv.URL + "/events.php")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	first := make([]byte, len("data: 1\n\n"))
	if _, err := io.ReadFull(res.Body, first); string(first) != "data: 1\n\n" {
		t.Fatalf("%q %v", first, err)
	}
	if err := os.WriteFile(filepath.Join(root, "go"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if rest, err := io.ReadAll(res.Body); string(rest) != "data: 2\n\n" || err != nil {
		t.Errorf("%q %v", rest, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	r, err := http.NewRequestWithContext(ctx, "GET", srv.URL+"/abort.php", nil)
	if err != nil {
		t.Fatal(err)
	}
	if res, err = http.DefaultClient.Do(r); err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if _, err := io.ReadFull(res.Body, make([]byte, 4)); err != nil {
		t.Fatal(err)
	}
	cancel()
	testkit.Within(t, testkit.Patience, "the script notices that its client is gone", func() bool {
		b, err := os.ReadFile(filepath.Join(root, "aborted"))
		return err == nil && string(b) == "1"
	})
}

// TestPing: php-fpm falls and rises by its ping page, and by a script.
func TestPing(t *testing.T) {
	fpm := servertest.PHPFPM(t, 2)
	root := testkit.Tree(t, map[string]string{"index.php": "", "health.php": `<?php http_response_code(file_exists(__DIR__ . '/sick') ? 503 : 200);`})
	for _, path := range []string{"/ping", "/health.php"} {
		_, pool := poolOf(t, root, Options{}, balancer.Options{Probe: Ping(path), Schedule: health.Schedule{Every: 20 * time.Millisecond, Changing: 10 * time.Millisecond, Rise: 1, Fall: 2}}, "fcgi://"+fpm.Addr)
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error)
		go func() { done <- pool.Run(ctx) }()
		is := func(want health.State) {
			t.Helper()
			testkit.Within(t, testkit.Patience, fmt.Sprint(path, ": the backend is ", want), func() bool { return pool.Backends()[0].State == want })
		}
		is(health.Up)
		fpm.Kill()
		is(health.Down)
		fpm.Restart()
		is(health.Up)
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	site, err := New(root, Options{})
	if err != nil {
		t.Fatal(err)
	}
	target := health.Target{Transport: site.Transport(balancer.Backend{URL: "fcgi://" + fpm.Addr})}
	if err := os.WriteFile(filepath.Join(root, "sick"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{"/ping": "up 200 OK", "/health.php": "degraded 503 Service Unavailable", "/nothing": "degraded 404 Not Found: is ping.path set to it?", "/nothing.php": "degraded 404 Not Found: is ping.path set to it?"} {
		if r, err := Ping(path).Probe(context.Background(), target); fmt.Sprint(r.State, " ", r.Note) != want {
			t.Errorf("%s: %v %q %v, want %q", path, r.State, r.Note, err, want)
		}
	}
	for _, path := range []string{"ping", "/a/../b", "/a%2fb", "//a"} {
		if _, err := balancer.New(nil, balancer.Options{Probe: Ping(path)}); err == nil {
			t.Errorf("%s is taken for a path", path)
		}
	}
}

// TestMoreThanPHPHasChildren: they wait at the socket, and none is lost.
func TestMoreThanPHPHasChildren(t *testing.T) {
	fpm := servertest.PHPFPM(t, 1)
	root := testkit.Tree(t, map[string]string{"index.php": `<?php usleep(2000); echo 'a';`})
	for _, at := range []string{"fcgi://" + fpm.Socket, "fcgi://" + fpm.Addr} {
		site, pool := poolOf(t, root, Options{Dial: testkit.Patience}, balancer.Options{}, at)
		srv := httptest.NewServer(site.Files(pool))
		defer srv.Close()
		var wg sync.WaitGroup
		for range 150 { // the queue has 64
			wg.Go(func() {
				res, err := http.Get(srv.URL)
				if err != nil {
					t.Error(err)
					return
				}
				defer res.Body.Close()
				if body, err := io.ReadAll(res.Body); res.StatusCode != 200 || string(body) != "a" {
					t.Errorf("%s: %d %q %v", at, res.StatusCode, body, err)
				}
			})
		}
		wg.Wait()
	}
}
