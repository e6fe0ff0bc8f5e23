package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestWrongRulesSayWhatWouldBeRight of limits, guards and answers.
func TestWrongRulesSayWhatWouldBeRight(t *testing.T) {
	dir := t.TempDir()
	text := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	pages := func(name, content string) string { return filepath.Dir(text(name, content)) }
	for name, c := range map[string]struct {
		args []string
		want []string
	}{
		"limit, no rate":       {[]string{"-limit", "/api/*"}, []string{"-limit", "5/s burst 20 header X-Api-Key"}},
		"limit, rate":          {[]string{"-limit", "* many"}, []string{`"many" is no rate`, "5/s"}},
		"limit, nothing":       {[]string{"-limit", "* 0/s"}, []string{`"0/s" is no rate`}},
		"limit, unit":          {[]string{"-limit", "* 5/d"}, []string{`"5/d" is no rate`, "s, m or h"}},
		"limit, too few":       {[]string{"-limit", "* 0.01/h"}, []string{"-limit", "one a day"}},
		"limit, burst":         {[]string{"-limit", "* 5/s burst x"}, []string{`burst "x"`, "such as 20"}},
		"limit, two keys":      {[]string{"-limit", "* 5/s header A cookie b"}, []string{"one header or one cookie"}},
		"limit, word":          {[]string{"-limit", "* 5/s by X-Api-Key"}, []string{`"by"`, "burst, header or cookie"}},
		"limit, field":         {[]string{"-limit", "* 5/s header X_Api:Key"}, []string{"-limit", "no name of a field"}},
		"limit, path":          {[]string{"-limit", "api 5/s"}, []string{`"api"`, "/api/*"}},
		"limit, all first":     {[]string{"-limit", "* 5/s", "-limit", "/api/* 5/s"}, []string{"-limit", "as the last"}},
		"limit-redis":          {[]string{"-limit", "* 5/s", "-limit-redis", "10.0.0.20"}, []string{"-limit-redis", "redis://10.0.0.20:6379/0"}},
		"limit-redis alone":    {[]string{"-limit-redis", "redis://a"}, []string{"-limit-redis", "it needs -limit"}},
		"basic, no file":       {[]string{"-basic", dir + "/none"}, []string{"-basic", "no such file"}},
		"basic, plain":         {[]string{"-basic", text("plain", "ann:secret\n")}, []string{"-basic", "line 1", "htpasswd -B"}},
		"basic, nobody":        {[]string{"-basic", text("nobody", "# none\n")}, []string{"-basic", "htpasswd -nB ann"}},
		"basic paths":          {[]string{"-basic", "f", "-basic-paths", "tools"}, []string{`-basic-paths "tools"`, "/tools"}},
		"basic paths alone":    {[]string{"-basic-paths", "/tools"}, []string{"-basic-paths", "-basic FILE"}},
		"ask, no URL":          {[]string{"-ask", "10.0.0.30:4180"}, []string{"-ask", "http://10.0.0.30:4180/oauth2/auth"}},
		"ask, scheme":          {[]string{"-ask", "ftp://a/b"}, []string{"-ask", "starts with http://"}},
		"ask, login":           {[]string{"-ask", "http://u:hidden@a/b"}, []string{"-ask", "no query, fragment or user"}},
		"ask paths":            {[]string{"-ask", "http://a/b", "-ask-paths", "x"}, []string{`-ask-paths "x"`}},
		"ask fields":           {[]string{"-ask", "http://a/b", "-ask-fields", "Remote User"}, []string{"-ask", "Remote User", "Remote-User"}},
		"ask fields, tier's":   {[]string{"-ask", "http://a/b", "-ask-fields", "X-Forwarded-For"}, []string{"for the tier to say"}},
		"ask cookies":          {[]string{"-ask", "http://a/b", "-ask-cookies", "a b"}, []string{`"a b" is no name of a cookie`}},
		"ask fields alone":     {[]string{"-ask-fields", "Remote-User"}, []string{"-ask-fields", "-ask URL"}},
		"warm, behind":         {[]string{"-basic", "f", "-warm", "urls"}, []string{"-warm", "-basic-paths"}},
		"answer":               {[]string{"-answer", "noindex"}, []string{"-answer", "X-Robots-Tag: noindex"}},
		"answer, name":         {[]string{"-answer", "X Robots: a"}, []string{"-answer", "no name of a field"}},
		"answer, framing":      {[]string{"-answer", "Content-Length: 1"}, []string{"-answer", "for the tier to say"}},
		"answer, value":        {[]string{"-answer", "X-A: a\nb"}, []string{"-answer", "X-A cannot be"}},
		"error pages, none":    {[]string{"-error-pages", dir + "/nowhere"}, []string{"-error-pages", "no such file"}},
		"error pages, empty":   {[]string{"-error-pages", pages("e1/.keep", "")}, []string{"-error-pages", "it is empty", "404.html"}},
		"error pages, a name":  {[]string{"-error-pages", pages("e2/sorry.html", "x")}, []string{`"sorry.html" is no page`, "404.html"}},
		"error pages, status":  {[]string{"-error-pages", pages("e3/200.html", "x")}, []string{`"200.html" is no page`, "400 to 599"}},
		"error pages, nothing": {[]string{"-error-pages", pages("e4/404.html", "")}, []string{"404.html", "1 to 65536 bytes"}},
		"error pages, large":   {[]string{"-error-pages", pages("e5/404.html", strings.Repeat("x", maxPage+1))}, []string{"404.html", "1 to 65536 bytes"}},
	} {
		t.Run(name, func(t *testing.T) {
			var out, errs bytes.Buffer
			if code := run(t.Context(), append([]string{"-listen", "127.0.0.1:0", someBackends}, c.args...), &out, &errs); code != 2 {
				t.Errorf("exit code %d, want 2", code)
			}
			for _, want := range c.want {
				if !strings.Contains(errs.String(), want) {
					t.Errorf("the message lacks %q: %s", want, errs.String())
				}
			}
			if strings.Contains(errs.String(), "hidden") || strings.Contains(errs.String(), "msg=serving") {
				t.Errorf("it says or does too much: %s", errs.String())
			}
		})
	}
}

// TestGuardsHoldForEverySpelling of the paths that they are for, before the origin's too,
// and for no others; limits, answers and pages go with them.
func TestGuardsHoldForEverySpelling(t *testing.T) {
	backend := func(name string) string {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("X-Powered-By", "app")
			if strings.HasSuffix(r.URL.Path, "/missing") {
				http.NotFound(w, r)
				return
			}
			fmt.Fprintf(w, "%s for %q", name, r.Header["X-Shop-User"])
		}))
		t.Cleanup(s.Close)
		return s.URL
	}
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/verify" || r.Header.Get("Cookie") != "sid=ann" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		w.Header().Set("X-Shop-User", "ann")
	}))
	defer service.Close()
	pages := t.TempDir()
	if err := os.WriteFile(filepath.Join(pages, "404.html"), []byte("<h1>not here"), 0o600); err != nil {
		t.Fatal(err)
	}
	addr, _, _ := startServe(t, "-backends", backend("shop"), "-origin", backend("origin"), "-admin", "/admin,/tools/admin",
		"-ask", service.URL+"/verify", "-ask-paths", "/tools,/admin", "-ask-fields", "X-Shop-User",
		"-limit", "/api/* 1/h burst 2 header X-Api-Key", "-answer", "X-Robots-Tag: noindex", "-answer", "X-Powered-By:", "-error-pages", pages)
	get := func(path string, lines ...string) (int, http.Header, string) {
		t.Helper()
		request := "GET " + path + " HTTP/1.1\r\nHost: shop.example\r\nConnection: close\r\n" + strings.Join(append(lines, "", ""), "\r\n")
		conn, err := net.Dial("tcp", addr) // a client would clean the path
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := io.WriteString(conn, request); err != nil {
			t.Fatal(err)
		}
		res, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		body, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		return res.StatusCode, res.Header, string(body)
	}
	for _, path := range []string{"/tools", "/tools/x", "/Tools/x", "/%74ools/x", "//tools/x", "/a/../tools/x", "/a/%2e%2e/tools/x", "/tools;x/y", "/tools/admin", "/admin/x", "/a%2f..%2ftools/x"} {
		if code, _, body := get(path, "X-Shop-User: root"); code != 401 && code != 400 {
			t.Errorf("%s: %d %s", path, code, body)
		}
	}
	for path, want := range map[string]string{"/tools/x": `shop for ["ann"]`, "/tools/admin": `origin for ["ann"]`, "/admin/x": `origin for ["ann"]`, "/page": "shop for []"} {
		if code, h, body := get(path, "Cookie: sid=ann"); code != 200 || body != want || strings.HasPrefix(body, "shop") && (h.Get("X-Robots-Tag") != "noindex" || h.Get("X-Powered-By") != "") {
			t.Errorf("%s: %d %s, want %s; %v", path, code, body, want, h)
		}
	}
	for i, want := range []int{200, 200, 429, 200} {
		code, h, _ := get("/api/x", []string{"X-Api-Key: a", "X-Api-Key: a", "X-Api-Key: a", "X-Api-Key: b"}[i])
		if code != want || h.Get("RateLimit") == "" {
			t.Errorf("request %d: %d %v", i, code, h)
		}
	}
	if code, _, body := get("/missing"); code != 404 || body != "<h1>not here" {
		t.Errorf("missing: %d %s", code, body)
	}
	if code, _, body := get("/missing", "Accept: application/json"); code != 404 || !strings.Contains(body, `"status":404`) {
		t.Errorf("missing, of a program: %d %s", code, body)
	}
}
