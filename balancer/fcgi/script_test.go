package fcgi

import (
	"net/url"
	"path"
	"strings"
	"testing"

	"github.com/foretier/foretier/internal/testkit"
)

// treeOf returns what is at each of some paths, and the directories above.
func treeOf(files ...string) func(string) kind {
	at := map[string]kind{".": directory}
	for _, f := range files {
		at[f] = file
		for d := path.Dir(f); d != "."; d = path.Dir(d) {
			at[d] = directory
		}
	}
	return func(name string) kind { return at[name] }
}

// TestWhatRuns: a script that exists, or the front controller, and never a part of a path.
func TestWhatRuns(t *testing.T) {
	look := treeOf("index.php", "wp-login.php", "wp-admin/index.php", "wp-admin/admin-ajax.php", "empty/a.css",
		"wp-content/uploads/evil.php", "wp-content/Uploads/evil.php", "upload/x.jpg", "media/index.php", "up/loads/a.php", "files/a.php", "sub/files/a.php",
		".git/a.php", "a/.hidden.php", "a.phtml", "a.php5", "A.PHP", "x.php/y.php", "style.css", "a b.php", "ä.php", "x~1.php", "a.php.", "a.php ", "c:a.php", `a\b.php`)
	cases := []struct {
		sent string
		want found
	}{
		{"/", found{script: "/index.php"}},
		{"/index.php", found{script: "/index.php"}},
		{"/wp-login.php", found{script: "/wp-login.php"}},
		{"/wp-login.php?a=/../b.php", found{script: "/wp-login.php"}},
		{"/wp%2Dlogin.php", found{script: "/wp-login.php"}},
		{"/a%20b.php", found{script: "/a b.php"}},
		{"/%C3%A4.php", found{script: "/ä.php"}},
		{"/wp-admin/", found{script: "/wp-admin/index.php"}},
		{"/wp-admin", found{to: "/wp-admin/"}},
		{"/wp-admin?a=b%20c", found{to: "/wp-admin/?a=b%20c"}},
		{"/wp-admin/admin-ajax.php", found{script: "/wp-admin/admin-ajax.php"}},
		{"/up/loads/a.php", found{script: "/up/loads/a.php"}},
		{"/files/a.php", found{script: "/files/a.php"}}, // a name alone would be denied
		{"/x.php/y.php", found{script: "/x.php/y.php"}}, // x.php is a directory
	}
	for _, sent := range []string{
		"/product/1", "/style.css", "/missing.php", "/empty/", "/empty", "/upload/x.jpg/a.php", "/upload/x.jpg%2fa.php", "/upload/x.jpg%00.php", "/upload/x.jpg%0a.php",
		"/wp-content/uploads/evil.php", "/wp-content/uploads/evil.php/", "/wp-content/Uploads/evil.php", "/wp-content/uploads/", "/media/", "/media", "/media/index.php",
		"/wp-login.php/", "/wp-login.php/x", "/wp-login.php/x.css", "/wp-login.php%2fx", "/wp-login.php.", "/wp-login.php%20", "/wp-login.php::$DATA", "/WP-LOGIN.PHP", "/wp-login.pHp", "/A.PHP",
		"/a.phtml", "/a.php5", "/.git/a.php", "/a/.hidden.php", "//wp-login.php", "/wp-admin//admin-ajax.php", "/./wp-login.php", "/x/../wp-login.php", "/%2e%2e/wp-login.php", "/wp-admin/..%2fwp-login.php",
		"/wp-admin%2Fadmin-ajax.php", "/wp-admin%5cadmin-ajax.php", `/wp-admin\admin-ajax.php`, "/a%5Cb.php", "/x~1.php", "/c:a.php", "/a.php%20", "/%2fwp-login.php", "/wp-login.php%00", "/wp-login%252ephp", "/wp-login.php;x", "/%ff.php",
		"/sub/files/a.php", "*", "",
	} {
		cases = append(cases, struct {
			sent string
			want found
		}{sent, found{script: "/index.php"}})
	}
	root := testkit.Tree(t, map[string]string{"index.php": ""})
	s, err := New(root, Options{Deny: []string{"upload", "Uploads/", "media", "/sub/files"}})
	if err != nil {
		t.Fatal(err)
	}
	bare, err := New(root, Options{NoFront: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range cases {
		u := urlOf(t, c.sent)
		if got := s.find(u, look); got != c.want {
			t.Errorf("%s: %+v, want %+v", c.sent, got, c.want)
		}
		if c.want.script == "/index.php" && !strings.HasPrefix(c.sent, "/index") && c.sent != "/" && !strings.Contains(c.sent, "files") {
			if got := bare.find(u, look); got != (found{}) {
				t.Errorf("%s without a front controller: %+v", c.sent, got)
			}
		}
	}
}

// urlOf is a target as a server reads it, or as near to it as can be.
func urlOf(t *testing.T, sent string) *url.URL {
	t.Helper()
	u, err := url.ParseRequestURI(sent)
	if err != nil {
		u = &url.URL{Path: sent}
	}
	return u
}

func TestPathInfo(t *testing.T) {
	look := treeOf("index.php", "shop/index.php", "uploads/a.php", "x.jpg", "d.php/a.txt")
	s, err := New(testkit.Tree(t, map[string]string{"index.php": ""}), Options{PathInfo: true})
	if err != nil {
		t.Fatal(err)
	}
	cases := map[string]found{
		"/index.php/a/b":       {script: "/index.php", info: "/a/b"},
		"/index.php/a/":        {script: "/index.php", info: "/a/"},
		"/index.php/":          {script: "/index.php", info: "/"},
		"/shop/index.php/a":    {script: "/shop/index.php", info: "/a"},
		"/index.php/b.php/c":   {script: "/index.php", info: "/b.php/c"},
		"/uploads/a.php/b":     {script: "/index.php"},
		"/x.jpg/a.php/b":       {script: "/index.php"},
		"/d.php/b":             {script: "/index.php"},
		"/index.php/..%2fb":    {script: "/index.php"},
		"/index.php/a/../b":    {script: "/index.php"},
		"/missing.php/b":       {script: "/index.php"},
		"/shop/missing.php/a/": {script: "/index.php"},
	}
	for sent, want := range cases {
		if got := s.find(urlOf(t, sent), look); got != want {
			t.Errorf("%s: %+v, want %+v", sent, got, want)
		}
	}
}

// TestRemoteFiles: where nobody can look, what is named runs.
func TestRemoteFiles(t *testing.T) {
	s, err := New("/var/www/shop/", Options{Remote: true, Scripts: []string{"/wp-login.php", "/wp-admin/index.php"}})
	if err != nil {
		t.Fatal(err)
	}
	for sent, want := range map[string]string{
		"/": "/index.php", "/wp-login.php": "/wp-login.php", "/wp-admin/": "/wp-admin/index.php", "/wp-admin/index.php": "/wp-admin/index.php",
		"/wp-admin": "/index.php", "/other.php": "/index.php", "/wp-login.php/x": "/index.php", "/style.css": "/index.php",
	} {
		if got, root := s.findNow(urlOf(t, sent)); got != (found{script: want}) || root != "/var/www/shop" {
			t.Errorf("%s: %+v, want %s", sent, got, want)
		}
	}
}

func TestSitesThatMakeNoSense(t *testing.T) {
	root := testkit.Tree(t, map[string]string{"index.php": "", "a/b.txt": ""})
	cases := []struct {
		root string
		opts Options
		says string
	}{
		{"", Options{}, "want an absolute path"},
		{"var/www", Options{}, "want an absolute path"},
		{"/", Options{}, "want an absolute path"},
		{"/a\nb", Options{}, "want an absolute path"},
		{root + "/missing", Options{}, "no directory is at"},
		{root + "/index.php", Options{}, "no directory is at"},
		{"/remote", Options{Files: "relative"}, "want the directory in which this process finds"},
		{"/remote", Options{Files: root, Remote: true}, "want one of the two"},
		{root + "/a", Options{}, "there is no /index.php in"},
		{root, Options{Front: "/missing.php"}, "there is no /missing.php"},
		{root, Options{Front: "index.php"}, "want a path below the root"},
		{root, Options{Front: "/../index.php"}, "want a path below the root"},
		{root, Options{Front: "/index.html"}, "want a path below the root"},
		{root, Options{Front: "/index.php", NoFront: true}, "want one of the two"},
		{root, Options{Scripts: []string{"/a.php"}}, "are Remote"},
		{root, Options{Remote: true, Scripts: []string{"a.php"}}, "want a path below the root"},
		{root, Options{Remote: true, NoFront: true}, "nothing runs"},
		{root, Options{Deny: []string{""}}, "Deny"},
		{root, Options{Deny: []string{"a/b"}}, "Deny"},
		{root, Options{Deny: []string{"/../b"}}, "Deny"},
	}
	for _, c := range cases {
		if _, err := New(c.root, c.opts); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%q, %+v: %v, want %q", c.root, c.opts, err, c.says)
		}
	}
}
