//go:build unix

package main

import (
	"net/http"
	"strings"
	"testing"

	"github.com/foretier/foretier/internal/servertest"
	"github.com/foretier/foretier/internal/testkit"
)

// docrootOf writes a small shop.
func docrootOf(t *testing.T) string {
	t.Helper()
	return testkit.Tree(t, map[string]string{
		"index.php":       `<?php header('Cache-Control: max-age=60'); echo 'page ', $_SERVER['REQUEST_URI'], ' ', microtime(true);`,
		"admin/index.php": `<?php echo 'admin of ', getenv('WHO') ?: $_SERVER['REMOTE_ADDR'];`, "admin/a.css": "admin's", "style.css": "css", "media/evil.php": `<?php echo 'evil';`, "config.php.bak": "secret",
	})
}

// TestPHPWithoutAWebServer: pages from php-fpm, cached, over a socket and a port, files
// from the disk, admin from its origin alone, and none of the rest.
func TestPHPWithoutAWebServer(t *testing.T) {
	fpm := servertest.PHPFPM(t, 2)
	root := docrootOf(t)
	site := "?root=" + root
	addr, log := startGateway(t, "-backends", "fcgi://"+fpm.Addr+site+",fcgi://"+fpm.Socket+site, "-origin", "fcgi://"+fpm.Addr+site, "-admin", "/admin", "-probe", "/ping", "-policy", "roundrobin")
	log.Wants(t, "backend is up", "backend="+fpm.Addr, "pool=apps")
	log.Wants(t, "backend is up", "backend="+fpm.Socket)
	_, first := ask(t, "http://"+addr+"/a", nil)
	if _, again := ask(t, "http://"+addr+"/a", nil); !strings.HasPrefix(first, "page /a ") || again != first {
		t.Errorf("a page is %q, and then %q", first, again)
	}
	for target, want := range map[string]string{"/style.css": "css", "/admin/": "admin of 127.0.0.1", "/admin/a.css": "admin's"} {
		if res, got := ask(t, "http://"+addr+target, nil); res.StatusCode != 200 || got != want {
			t.Errorf("%s: %d %q, want %q", target, res.StatusCode, got, want)
		}
	}
	for _, target := range []string{"/media/evil.php", "/config.php.bak", "/style.css/x.php", "/ping"} {
		if _, got := ask(t, "http://"+addr+target, nil); !strings.HasPrefix(got, "page "+target+" ") {
			t.Errorf("%s: %q, want the front controller", target, got)
		}
	}
	fpm.Kill()
	log.Wants(t, "backend is down", "backend="+fpm.Addr)
	if res, got := ask(t, "http://"+addr+"/style.css?new", nil); res.StatusCode != 200 || got != "css" {
		t.Errorf("a file, with all servers down: %d %q", res.StatusCode, got)
	}
	if res, _ := ask(t, "http://"+addr+"/b", nil); res.StatusCode != http.StatusServiceUnavailable && res.StatusCode != http.StatusBadGateway {
		t.Errorf("a page, with all servers down: %d", res.StatusCode)
	}
}

// TestWrongSitesSayWhatWouldBeRight, before anything is served.
func TestWrongSitesSayWhatWouldBeRight(t *testing.T) {
	root := docrootOf(t)
	for backends, words := range map[string]string{
		"fcgi://10.0.0.11:9000":                               "the root is missing",
		"fcgi://10.0.0.11?root=/a":                            "want a host and a port",
		"fcgi:///?root=/a":                                    "the absolute path of the socket",
		"fcgi://10.0.0.11:9000/a?root=/a":                     "want a host and a port",
		"fcgi:/run/php.sock?root=/a":                          "want fcgi:// and",
		"fcgi://10.0.0.11:9000?root=/a&root=/b":               "root is there twice",
		"fcgi://10.0.0.11:9000?rot=/a":                        `"rot" is nothing that is known`,
		"fcgi://10.0.0.11:9000?root=/a%":                      "want a URL such as",
		"fcgi://10.0.0.11:9000?root=a":                        "want an absolute path",
		"fcgi://10.0.0.11:9000?root=/no/such/directory":       "no directory is at /no/such/directory",
		"fcgi://10.0.0.11:9000?root=" + root + "/media":       "there is no /index.php",
		"fcgi://10.0.0.11:9000?root=/a&files=none&front=a":    "want a path below the root",
		"fcgi://a:1?root=" + root + ",fcgi://b:1?root=/other": "want one site of all",
	} {
		var log strings.Builder
		if code := run(t.Context(), []string{"-listen", "127.0.0.1:0", "-backends", backends}, &log, &log); code != 2 || !strings.Contains(log.String(), words) {
			t.Errorf("%s: exit %d, %s; want %q", backends, code, &log, words)
		}
	}
	var log strings.Builder
	if code := run(t.Context(), []string{"-backends", "fcgi://a:1?root=" + root, "-probe", "/ping", "-probe-host", "shop.example"}, &log, &log); code != 2 || !strings.Contains(log.String(), "ping.path") {
		t.Errorf("-probe-host: exit %d, %s", code, &log)
	}
}

// TestPHPOfAFile: the servers of one site come and go, and another site takes a restart.
func TestPHPOfAFile(t *testing.T) {
	fpm := servertest.PHPFPM(t, 2)
	site := "?root=" + docrootOf(t)
	c := &changing{t: t, dir: t.TempDir()}
	c.write("backends", "fcgi://"+fpm.Addr+site+"\n")
	c.addr, c.log, _ = startServe(t, "-backends", "@"+c.file("backends"))
	c.write("backends", "fcgi://"+fpm.Socket+site+"\n")
	c.reread("a file is taken up", "1 backends, new: fcgi://"+fpm.Socket)
	if _, got := ask(t, "http://"+c.addr+"/a", nil); !strings.HasPrefix(got, "page /a ") {
		t.Errorf("%q", got)
	}
	c.write("backends", "fcgi://"+fpm.Socket+"?root=/other\n")
	c.reread("what was before stays", "another takes a restart")
	if _, got := ask(t, "http://"+c.addr+"/b", nil); !strings.HasPrefix(got, "page /b ") {
		t.Errorf("%q", got)
	}
}
