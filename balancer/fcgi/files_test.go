package fcgi

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/foretier/foretier/health"
	"github.com/foretier/foretier/internal/testkit"
)

// other is what stands behind the files.
var other = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "next") })

func TestFiles(t *testing.T) {
	root := testkit.Tree(t, map[string]string{
		"index.php": "<?php", "style.css": "css", "a/b c.txt": "text", "docs/index.html": "docs", "both/index.php": "<?php", "both/index.html": "html", "none/x": "x", "empty": "",
		".htaccess": "s", ".well-known/a.txt": "known", ".well-known/.b": "s", "a/.c": "s", ".d/e": "s", "well/.well-known/a": "s",
		"a.php": "s", "a.PHP": "s", "a.php.bak": "s", "a.php~": "s", "a.php5": "s", "a.phps": "s", "a.phtml": "s", "a.phar": "s", "a.pht": "s", "b.php/b.css": "s",
		"a.inc": "s", "dump.SQL": "s", "a.bak": "s", "a.old": "s", "a.orig": "s", "a.save": "s", "a.swp": "s", "a.ini": "s", "a.photo": "photo", "x~": "s",
	})
	outside := testkit.Tree(t, map[string]string{"secret": "s"})
	for link, to := range map[string]string{"out": filepath.Join(outside, "secret"), "up": "../" + filepath.Base(outside) + "/secret", "in.css": "style.css", "far": outside, "loop": "loop"} {
		if err := os.Symlink(to, filepath.Join(root, link)); err != nil {
			t.Fatal(err)
		}
	}
	site, err := New(root, Options{})
	if err != nil {
		t.Fatal(err)
	}
	h := site.Files(other)
	get := func(method, target string, fields ...string) *httptest.ResponseRecorder {
		r := &http.Request{Method: method, URL: urlOf(t, target), Header: make(http.Header)}
		for i := 0; i < len(fields); i += 2 {
			r.Header.Set(fields[i], fields[i+1])
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w
	}
	for target, want := range map[string]string{
		"/style.css": "css", "/a/b%20c.txt": "text", "/docs/": "docs", "/empty": "", "/.well-known/a.txt": "known", "/in.css": "css", "/a.photo": "photo", "/style.css?v=1": "css", "/%73tyle.css": "css",
		"/": "next", "/docs": "next", "/both/": "next", "/none/": "next", "/a": "next", "/missing": "next", "/style.css/": "next", "/style.css/x": "next",
		"/out": "next", "/up": "next", "/far/secret": "next", "/far/": "next", "/loop": "next", "/../" + filepath.Base(outside) + "/secret": "next", "/%2e%2e/x": "next", "/none%2fx": "next", "/a%2Fb%20c.txt": "next", "//style.css": "next", "/./style.css": "next", "/style.css%00": "next", "/style.css.": "next", `/none\x`: "next",
		"/.htaccess": "next", "/%2ehtaccess": "next", "/.well-known/.b": "next", "/a/.c": "next", "/.d/e": "next", "/well/.well-known/a": "next", "/.well-known/": "next", "/.well-known/../.htaccess": "next",
		"/a.php": "next", "/a.PHP": "next", "/a.php.bak": "next", "/a.php~": "next", "/a.php5": "next", "/a.phps": "next", "/a.phtml": "next", "/a.phar": "next", "/a.pht": "next", "/b.php/b.css": "next", "/a.php/b.css": "next",
		"/a.inc": "next", "/dump.SQL": "next", "/a.bak": "next", "/a.old": "next", "/a.orig": "next", "/a.save": "next", "/a.swp": "next", "/a.ini": "next", "/x~": "next",
	} {
		if w := get("GET", target); w.Code != 200 || w.Body.String() != want {
			t.Errorf("%s: %d %q, want %q", target, w.Code, w.Body, want)
		}
	}
	if w := get("POST", "/style.css"); w.Body.String() != "next" {
		t.Errorf("POST: %q", w.Body)
	}
	if w := get("HEAD", "/style.css"); w.Body.Len() > 0 || w.Header().Get("Content-Length") != "3" || !strings.HasPrefix(w.Header().Get("Content-Type"), "text/css") {
		t.Errorf("HEAD: %q %q", w.Body, w.Header())
	}
	if got := get("GET", "/empty").Header().Get("Content-Type"); got != "application/octet-stream" {
		t.Errorf("a file without a name's end is %q", got)
	}

	// Conditions and ranges.
	old := time.Now().Add(-time.Hour).Truncate(time.Second)
	if err := os.Chtimes(filepath.Join(root, "style.css"), old, old); err != nil {
		t.Fatal(err)
	}
	tag := get("GET", "/style.css").Header().Get("Etag")
	if !strings.HasPrefix(tag, `"`) {
		t.Errorf("the tag of an old file is %s", tag)
	}
	for _, c := range []struct {
		field, value string
		status       int
		body         string
	}{
		{"If-None-Match", tag, 304, ""}, {"If-None-Match", `"x"`, 200, "css"}, {"If-Modified-Since", old.UTC().Format(http.TimeFormat), 304, ""}, {"If-Match", `"x"`, 412, ""},
		{"Range", "bytes=1-", 206, "ss"}, {"Range", "bytes=9-", 416, "invalid range: failed to overlap\n"},
	} {
		if w := get("GET", "/style.css", c.field, c.value); w.Code != c.status || w.Body.String() != c.body {
			t.Errorf("%s: %s: %d %q, want %d %q", c.field, c.value, w.Code, w.Body, c.status, c.body)
		}
	}
	if err := os.WriteFile(filepath.Join(root, "style.css"), []byte("new"), 0o644); err != nil {
		t.Fatal(err)
	}
	if now := get("GET", "/style.css", "If-None-Match", tag); now.Body.String() != "new" || !strings.HasPrefix(now.Header().Get("Etag"), `W/"`) {
		t.Errorf("a file that has just changed: %d %q %q", now.Code, now.Body, now.Header())
	}

	// What is asked about it.
	r := httptest.NewRequest("GET", "/style.css", nil)
	if d := health.Explain(h, r); d.Verdict != "file" {
		t.Errorf("explained: %v", d)
	}
	if !health.Healthy(h, r) {
		t.Error("the file could not be served")
	}
	if d := health.Explain(h, httptest.NewRequest("GET", "/x", nil)); d.Verdict != "next" || len(d.Next) != 1 || len(d.Steps) != 1 || !strings.HasSuffix(d.Steps[0], " runs /index.php") {
		t.Errorf("explained: %v", d)
	}
	remote, err := New("/var/www/shop", Options{Remote: true})
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := remote.Files(other).(http.HandlerFunc); !ok {
		t.Error("of remote files there is a handler")
	}
	if err := os.RemoveAll(root); err != nil {
		t.Fatal(err)
	}
	if w := get("GET", "/style.css"); w.Body.String() != "next" {
		t.Errorf("a root that is gone: %d %q", w.Code, w.Body)
	}
}
