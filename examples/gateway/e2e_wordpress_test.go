//go:build e2e

package main

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	"image/png"
	"io"
	"mime/multipart"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/foretier/foretier/internal/servertest"
	"github.com/foretier/foretier/internal/testkit"
)

// wpConfig is WordPress' configuration: where the database is, and who asks.
const wpConfig = `<?php
define('DB_NAME', 'wordpress'); define('DB_USER', 'admin'); define('DB_PASSWORD', ''); define('DB_HOST', '%s'); define('DB_CHARSET', 'utf8mb4'); define('DB_COLLATE', '');
foreach (['AUTH_KEY', 'SECURE_AUTH_KEY', 'LOGGED_IN_KEY', 'NONCE_KEY', 'AUTH_SALT', 'SECURE_AUTH_SALT', 'LOGGED_IN_SALT', 'NONCE_SALT'] as $k) { define($k, $k . ' of a test'); }
define('WP_HOME', 'http://%[2]s'); define('WP_SITEURL', 'http://%[2]s'); define('WP_DEFAULT_THEME', 'plain'); define('DISABLE_WP_CRON', true); define('WP_HTTP_BLOCK_EXTERNAL', true); define('AUTOMATIC_UPDATER_DISABLED', true);
$table_prefix = 'wp_';
if (!defined('ABSPATH')) { define('ABSPATH', __DIR__ . '/'); }
require_once ABSPATH . 'wp-settings.php';
`

// A blog is WordPress, with a browser of its own.
type blog struct {
	t      *testing.T
	root   string
	addr   string
	client *http.Client
}

// do sends a request, and returns the answer's status and body.
func (b blog) do(r *http.Request, err error) (int, string) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
	res, err := b.client.Do(r)
	if err != nil {
		b.t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	return res.StatusCode, string(body)
}

func (b blog) get(path string) (int, string) {
	b.t.Helper()
	return b.do(http.NewRequest("GET", "http://"+b.addr+path, nil))
}

func (b blog) post(path string, form url.Values) (int, string) {
	b.t.Helper()
	r, err := http.NewRequest("POST", "http://"+b.addr+path, strings.NewReader(form.Encode()))
	if err == nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	return b.do(r, err)
}

// wants asks for a path, and wants a status and words.
func (b blog) wants(path string, status int, words ...string) {
	b.t.Helper()
	got, body := b.get(path)
	for _, w := range words {
		if got != status || !strings.Contains(body, w) {
			b.t.Errorf("%s: %d, want %d with %q in\n%.2000s", path, got, status, w, body)
			return
		}
	}
}

// copyWordPress copies Debian's, whose folders are links all over the system, and gives
// it a theme.
func copyWordPress(t *testing.T) string {
	t.Helper()
	const packaged = "/usr/share/wordpress"
	if _, err := os.Stat(packaged); err != nil {
		t.Fatal("WordPress is not installed: make install-e2e")
	}
	root := filepath.Join(t.TempDir(), "wordpress")
	if out, err := exec.Command("cp", "-rL", packaged, root).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for name, content := range map[string]string{
		"style.css": "/*\nTheme Name: Plain\n*/\nbody { color: teal }",
		"index.php": `<!doctype html><html><head><?php wp_head(); ?></head><body><?php while (have_posts()) { the_post(); echo '<h1>', get_the_title(), '</h1>'; the_content(); } if (is_404()) { echo 'nothing is here'; } wp_footer(); ?></body></html>`,
	} {
		name = filepath.Join(root, "wp-content/themes/plain", name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

// TestE2EWordPress installs WordPress through the gateway on two php-fpm, reads it, logs
// in, uploads a picture, and loses a server meanwhile. No web server takes part.
func TestE2EWordPress(t *testing.T) {
	db := servertest.MariaDB(t, 1)
	const workers = 4
	one, two := servertest.PHPFPM(t, workers), servertest.PHPFPM(t, workers)
	root := copyWordPress(t)
	host, port, _ := strings.Cut(db.Addr, ":")
	if out, err := exec.Command("mariadb", "-h", host, "-P", port, "-u", "admin", "-e", "CREATE DATABASE wordpress").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	site := "?root=" + root
	addr, log := startGateway(t, "-shop", "wordpress", "-cache-ttl", "60s", "-probe", "/ping",
		"-backends", "fcgi://"+one.Addr+site+",fcgi://"+two.Socket+site, "-origin", "fcgi://"+two.Addr+site)
	if err := os.WriteFile(filepath.Join(root, "wp-config.php"), fmt.Appendf(nil, wpConfig, db.Addr, addr), 0o644); err != nil {
		t.Fatal(err)
	}
	log.Wants(t, "backend is up", "backend="+one.Addr)
	log.Wants(t, "backend is up", "backend="+two.Socket)
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	b := blog{t, root, addr, &http.Client{Jar: jar}}
	visitor := blog{t, root, addr, new(http.Client)}

	// To set it up: a POST that takes seconds, redirects, the admin's own files.
	status, body := b.post("/wp-admin/install.php?step=2", url.Values{"weblog_title": {"Shop"}, "user_name": {"admin"}, "admin_password": {"secret-of-a-test"}, "admin_password2": {"secret-of-a-test"}, "pw_weak": {"on"}, "admin_email": {"a@shop.example"}, "language": {""}})
	if status != 200 || !strings.Contains(body, "Success") {
		t.Fatalf("install: %d\n%.3000s", status, body)
	}
	if out, err := exec.Command("mariadb", "-h", host, "-P", port, "-u", "admin", "wordpress", "-e", "UPDATE wp_options SET option_value = '/%postname%/' WHERE option_name = 'permalink_structure'; DELETE FROM wp_options WHERE option_name = 'rewrite_rules'").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	visitor.wants("/", 200, "<h1>Hello world!</h1>")
	visitor.wants("/hello-world/", 200, "<h1>Hello world!</h1>")
	visitor.wants("/sample-page", 200, "<h1>Sample Page</h1>") // redirected
	visitor.wants("/no-such-page/", 404, "nothing is here")
	visitor.wants("/?p=1", 200, "<h1>Hello world!</h1>")
	visitor.wants("/wp-json/wp/v2/posts", 200, `"slug":"hello-world"`)
	visitor.wants("/feed/", 200, "<rss")
	visitor.wants("/wp-content/themes/plain/style.css", 200, "color: teal")
	visitor.wants("/wp-includes/css/dashicons.css", 200, "dashicons")
	visitor.wants("/wp-admin", 200, "Log In") // to the folder, and to the login
	visitor.wants("/wp-admin/css/login.css", 200, "login")

	// To log in and to send a picture.
	if status, body := b.get("/wp-login.php"); status != 200 || !strings.Contains(body, "loginform") {
		t.Fatalf("the login: %d\n%.2000s", status, body)
	}
	status, body = b.post("/wp-login.php", url.Values{"log": {"admin"}, "pwd": {"secret-of-a-test"}, "testcookie": {"1"}, "redirect_to": {"/wp-admin/"}})
	if status != 200 || !strings.Contains(body, "Dashboard") {
		t.Fatalf("logged in: %d\n%.2000s", status, body)
	}
	_, body = b.get("/wp-admin/media-new.php")
	nonce := regexp.MustCompile(`"_wpnonce":"([0-9a-f]+)"`).FindStringSubmatch(body)
	if nonce == nil {
		t.Fatalf("no form for a picture:\n%.3000s", body)
	}
	var form, picture bytes.Buffer
	if err := png.Encode(&picture, image.NewGray(image.Rect(0, 0, 300, 300))); err != nil {
		t.Fatal(err)
	}
	w := multipart.NewWriter(&form)
	for name, value := range map[string]string{"name": "one.png", "action": "upload-attachment", "_wpnonce": nonce[1]} {
		if err := w.WriteField(name, value); err != nil {
			t.Fatal(err)
		}
	}
	part, err := w.CreateFormFile("async-upload", "one.png")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := part.Write(picture.Bytes()); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	r, err := http.NewRequest("POST", "http://"+addr+"/wp-admin/async-upload.php", &form)
	if err == nil {
		r.Header.Set("Content-Type", w.FormDataContentType())
	}
	status, body = b.do(r, err)
	at := regexp.MustCompile(`"url":"http:\\/\\/[^/]+(\\/wp-content\\/uploads\\/[^"]+one.png)"`).FindStringSubmatch(body)
	if status != 200 || at == nil {
		t.Fatalf("the picture: %d\n%.2000s", status, body)
	}
	upload := strings.ReplaceAll(at[1], `\/`, "/")
	if status, got := visitor.get(upload); status != 200 || got != picture.String() {
		t.Errorf("%s: %d, %d bytes, want %d", upload, status, len(got), picture.Len())
	}

	// What an attacker has got into the uploads never runs, nor is it shown.
	evil := strings.TrimSuffix(upload, "one.png") + "evil"
	for _, name := range []string{evil + ".php", evil + ".php.png", evil + ".phtml"} {
		if err := os.WriteFile(root+name, []byte("<?php echo 'evil ran';"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, path := range []string{evil + ".php", evil + ".php/x.css", evil + ".php.png/x.php", upload + "/x.php", evil + ".phtml", evil + ".php%00.png", "/wp-config.php~", "/.htaccess", "/wp-includes/../wp-config.php.bak"} {
		if status, got := visitor.get(path); strings.Contains(got, "evil") || status == 200 && !strings.Contains(got, "Hello world") {
			t.Errorf("%s: %d %.300q", path, status, got)
		}
	}

	// A server that dies is noticed by nobody but whose pages it had in hand and in
	// part sent, longer ago than a page is held: they are cut off, and seen to be.
	var wg sync.WaitGroup
	var cut atomic.Int64
	for i := range 8 {
		wg.Go(func() {
			for j := range 10 {
				if i == 0 && j == 3 {
					one.Kill()
				}
				res, err := http.Get(fmt.Sprintf("http://%s/hello-world/?n=%d-%d", addr, i, j))
				if err != nil {
					t.Error(err)
					return
				}
				body, err := io.ReadAll(res.Body)
				res.Body.Close()
				switch {
				case res.StatusCode == 200 && errors.Is(err, io.ErrUnexpectedEOF):
					cut.Add(1)
				case res.StatusCode != 200 || err != nil || !bytes.Contains(body, []byte("Hello world!")):
					t.Errorf("%d %v %.300q", res.StatusCode, err, body)
				}
			}
		})
	}
	wg.Wait()
	if n := cut.Load(); n > workers {
		t.Errorf("%d pages were cut off, of a server with %d at a time", n, workers)
	}
	log.Wants(t, "backend is down", "backend="+one.Addr)
	testkit.Within(t, testkit.Patience, "the blog goes on", func() bool {
		status, body := visitor.get("/hello-world/?later")
		return status == 200 && strings.Contains(body, "Hello world!")
	})
	if strings.Contains(log.String(), "PHP Fatal") {
		t.Errorf("the log:\n%s", log)
	}
}
