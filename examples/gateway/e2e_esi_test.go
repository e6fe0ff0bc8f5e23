//go:build e2e

package main

import (
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/foretier/foretier/internal/servertest"
)

// TestE2EComposedPages: pages of PHP, which compresses them itself, as curl and a browser
// decode them.
func TestE2EComposedPages(t *testing.T) {
	f := startFarm(t, "-esi")
	parts := regexp.MustCompile(`(?s)<p id="page">(\w+)</p>\s*<p id="menu">(\w+)</p>\s*<p id="cart">(\w*)</p>\s*<p id="admin">(.*?)</p>\s*<p id="none"><!-- esi: not included --></p> <p>composed</p>`)
	type seen struct{ page, menu, cart, admin string }
	read := func(who, out string) (s seen) {
		t.Helper()
		m := parts.FindStringSubmatch(out)
		if m == nil || strings.Contains(out, "nobody composes") || strings.Contains(out, "<esi:") {
			t.Fatalf("%s gets %s", who, out)
		}
		return seen{m[1], m[2], m[3], m[4]}
	}
	visit := func(user string) seen {
		t.Helper()
		return read(user, curl(t, "--compressed", "-b", "user="+user, f.url("/esi/page.php")))
	}
	purge := func(tag string) { curl(t, "-X", "PURGE", "-H", "Cache-Tag: "+tag, f.url("/")) }

	anna := visit("anna")
	if anna.cart != "anna" || !strings.Contains(anna.admin, "web0") {
		t.Errorf("anna gets %+v", anna)
	}
	if got, want := visit("ben"), (seen{anna.page, anna.menu, "ben", anna.admin}); got.page != want.page || got.menu != want.menu || got.cart != want.cart {
		t.Errorf("ben gets %+v, want %+v", got, want)
	}
	purge("menu")
	second := visit("anna")
	if second.page != anna.page || second.menu == anna.menu {
		t.Errorf("once the menu is purged: %+v, before %+v", second, anna)
	}
	purge("page")
	if third := visit("anna"); third.page == anna.page || third.menu != second.menu {
		t.Errorf("once the page is purged: %+v, before %+v", third, second)
	}

	head := strings.ToLower(curl(t, "-D", "-", "-o", "/dev/null", "-H", "Accept-Encoding: gzip, br, zstd", "-r", "0-9", f.url("/esi/page.php")))
	for _, bad := range []string{"206", "surrogate", "etag", "age:", "content-encoding", "public", "max-age"} {
		if strings.Contains(head, bad) {
			t.Errorf("a composed page has %s: %s", bad, head)
		}
	}
	if !strings.Contains(head, "cache-control: private, no-cache") {
		t.Errorf("a composed page has %s", head)
	}

	out, err := exec.Command(servertest.Require(t, "chromium"), "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
		"--disable-background-networking", "--disable-component-update", "--user-data-dir="+t.TempDir(), "--dump-dom", f.url("/esi/page.php")).Output()
	if err != nil {
		t.Fatalf("chromium: %v\n%s", err, out)
	}
	if got := read("a browser", string(out)); got.menu != second.menu || got.cart != "nobody" {
		t.Errorf("a browser gets %+v", got)
	}
}
