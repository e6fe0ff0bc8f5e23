package main

import (
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/foretier/foretier/internal/testkit"
)

// A shopServer answers with its name and how often it has been asked, and is public
// for a day.
func shopServer(t *testing.T, name string, answer func(h http.Header, r *http.Request)) (url string) {
	var n atomic.Int32
	return backendFunc(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method != "GET" {
			t.Errorf("%s is sent %s %s", name, r.Method, r.URL)
		}
		w.Header().Set("Cache-Control", "public, max-age=86400, s-maxage=86400")
		if answer != nil {
			answer(w.Header(), r)
		}
		fmt.Fprint(w, name, " ", n.Add(1))
	})
}

// gets asks for a target and wants what the body contains.
func gets(t *testing.T, addr, want, target string, fields ...string) {
	t.Helper()
	if status, body := sendTarget(t, addr, "GET", target, fields...); !strings.Contains(body, want) {
		t.Errorf("%s %q: got %d %q, want %q", target, fields, status, body, want)
	}
}

// purges sends a purge and wants an answer.
func purges(t *testing.T, addr string, status int, want, method, target string, fields ...string) {
	t.Helper()
	if got, said := sendTarget(t, addr, method, target, fields...); got != status || !strings.Contains(said, want) {
		t.Errorf("%s %s %q: got %d %q, want %d %q", method, target, fields, got, said, status, want)
	}
}

func TestShopMagento(t *testing.T) {
	apps := shopServer(t, "shop", func(h http.Header, r *http.Request) {
		h.Set("X-Magento-Tags", "FPC,cat_p_1")
		h.Add("Set-Cookie", "PHPSESSID=new; path=/")
		if strings.Contains(r.Header.Get("Cookie"), "PHPSESSID=customer") {
			h.Add("Set-Cookie", "X-Magento-Vary=abc; path=/")
		}
	})
	origin := shopServer(t, "origin", nil)
	addr, _ := startGateway(t, "-shop", "magento", "-sticky", "pin", "-backends", apps, "-origin", origin, "-admin", "/admin_x7,/de/admin_x7", "-purge-from", "127.0.0.0/8")
	customer := "Cookie: PHPSESSID=customer; X-Magento-Vary=abc"
	gets(t, addr, "shop 1", "/shirt.html?gclid=7")
	gets(t, addr, "shop 1", "/shirt.html", "Cookie: form_key=x; X-Magento-Vary=")
	gets(t, addr, "shop 2", "/shirt.html", customer)
	gets(t, addr, "shop 2", "/shirt.html", customer)
	gets(t, addr, "shop 3", "/shirt.html", "Cookie: X-Magento-Vary=def")
	gets(t, addr, "shop 4", "/checkout/cart")
	gets(t, addr, "shop 5", "/checkout/cart")
	for _, path := range []string{"/admin_x7/dashboard", "/de/admin_x7", "/index.php/admin_x7", "/setup", "/cron.php", "/pub/cron.php"} {
		gets(t, addr, "origin ", path)
	}
	answer := testkit.Send(t, addr, "GET /shirt.html HTTP/1.0\r\nHost: shop.example\r\n\r\n")
	if head, _, _ := strings.Cut(answer, "\r\n\r\n"); !strings.Contains(head, "Cache-Control: no-store") || strings.Contains(head, "Set-Cookie") || strings.Contains(head, "X-Magento-Tags") {
		t.Errorf("browsers are told %s", head)
	}
	purges(t, addr, 400, "X-Magento-Tags-Pattern is not understood here", "PURGE", "http://gateway/", "X-Magento-Tags-Pattern: cat_p_[12]")
	purges(t, addr, 200, "responses: 2", "PURGE", "http://gateway/", "X-Magento-Tags-Pattern: ((^|,)cat_p_1(,|$))|((^|,)cat_p(,|$))")
	gets(t, addr, "shop 6", "/shirt.html")
	purges(t, addr, 200, "responses: 1", "PURGE", "http://gateway/", "X-Magento-Tags-Pattern: .*")
	gets(t, addr, "shop 7", "/shirt.html")

	stranger, _ := startGateway(t, "-shop", "magento", "-backends", apps, "-purge-from", "192.0.2.0/24")
	for _, method := range []string{"PURGE", "BAN", "PURGEKEYS"} {
		purges(t, stranger, 403, "", method, "/", "X-Magento-Tags-Pattern: .*")
	}
}

func TestShopShopware(t *testing.T) {
	apps := shopServer(t, "shop", func(h http.Header, r *http.Request) {
		h.Set("xkey", "product-1 category-2")
		h.Add("Set-Cookie", "session-=new; path=/")
	})
	origin := shopServer(t, "origin", nil)
	addr, _ := startGateway(t, "-shop", "shopware", "-backends", apps, "-origin", origin, "-purge-from", "127.0.0.0/8")
	gets(t, addr, "shop 1", "/shirt")
	gets(t, addr, "shop 1", "/shirt?utm_source=x", "Cookie: session-=1")
	gets(t, addr, "shop 2", "/shirt", "Cookie: sw-cache-hash=abc")
	gets(t, addr, "shop 2", "/shirt", "Cookie: sw-cache-hash=abc")
	gets(t, addr, "origin ", "/admin")
	gets(t, addr, "origin ", "/api/_info/version")
	for fields, want := range map[string]int{"A: b": 204, "Cookie: sw-cache-hash=abc; sw-states=logged-in": 204, "Cookie: sw-cache-hash=abc; sw-states=cart-filled": 200, "sw-cache-hash: abc": 200} {
		if status, _ := sendTarget(t, addr, "GET", "/widgets/checkout/info", fields); status != want {
			t.Errorf("the cart of %q: %d, want %d", fields, status, want)
		}
	}
	purges(t, addr, 200, "responses: 0", "PURGE", "http://gateway/", "xkey: product-2")
	purges(t, addr, 200, "responses: 3", "PURGE", "http://gateway/", "xkey: product-2 product-1")
	gets(t, addr, "shop 5", "/shirt")
	purges(t, addr, 200, "responses: 1", "BAN", "http://gateway/")
	gets(t, addr, "shop 6", "/shirt")
}

func TestShopWordPress(t *testing.T) {
	apps := shopServer(t, "blog", func(h http.Header, r *http.Request) {
		h.Del("Cache-Control")
		h.Set("X-Cache-Tags", "site-1,p-7")
	})
	origin := shopServer(t, "origin", nil)
	addr, _ := startGateway(t, "-shop", "wordpress", "-backends", apps, "-origin", origin, "-cache-ttl", "1h", "-purge-from", "127.0.0.0/8")
	gets(t, addr, "blog 1", "/hello/")
	gets(t, addr, "blog 1", "/hello/")
	gets(t, addr, "blog 2", "/hello/", "Cookie: wordpress_logged_in_1=anna")
	gets(t, addr, "blog 3", "/hello/?preview=true")
	gets(t, addr, "origin ", "/wp-admin/")
	gets(t, addr, "origin ", "/wp-login.php")
	gets(t, addr, "blog 4", "/wp-admin/admin-ajax.php")
	purges(t, addr, 200, "responses: 1", "PURGE", "/", "X-Purge-Method: tags", "X-Cache-Tags-Pattern: p-8|p-7")
	gets(t, addr, "blog 5", "/hello/")
	purges(t, addr, 200, "responses: 1", "PURGE", "/.*", "X-Purge-Method: regex")
	gets(t, addr, "blog 6", "/hello/")
}

// TestShopOXID: what is cached is as without a shop.
func TestShopOXID(t *testing.T) {
	addr, _ := startGateway(t, "-shop", "oxid", "-backends", shopServer(t, "shop", nil), "-origin", shopServer(t, "origin", nil), "-admin", "/intern")
	for _, path := range []string{"/admin/", "/setup", "/bin/cron.php", "/intern/x"} {
		gets(t, addr, "origin ", path)
	}
	gets(t, addr, "shop 1", "/?utm_source=x")
	gets(t, addr, "shop 1", "/")
}

// TestShopsFragments: what each shop sends of ESI is done, and turned off if one wants.
func TestShopsFragments(t *testing.T) {
	for name, c := range map[string]struct {
		control, page, want string
		flags               []string
	}{
		"Magento":  {"", `[<esi:include src="http://shop.example/page_cache/block/esi/blocks/%5B%22catalog.topnav%22%5D/handles/WyJkZWZhdWx0Il0%3D/" />]`, "[menu]", []string{"-shop", "magento", "-purge-from", "127.0.0.1"}},
		"Shopware": {`content="ESI/1.0"`, `[<esi:include src="http://shop.example/header?_hash=a%2Fb" onerror="continue" />]`, "[menu]", []string{"-shop", "shopware", "-purge-from", "127.0.0.1"}},
		"any":      {`content="ESI/1.0"`, `[<esi:include src="/menu"/>]`, "[menu]", []string{"-esi"}},
		"pinned":   {`content="ESI/1.0"`, `[<esi:include src="/menu"/>]`, "[menu]", []string{"-esi", "-sticky", "pin"}},
		"none":     {`content="ESI/1.0"`, `[<esi:include src="/menu"/>]`, `[<esi:include src="/menu"/>]`, nil},
		"off":      {"", `[<esi:include src="/menu"/>]`, `[<esi:include src="/menu"/>]`, []string{"-shop", "magento", "-esi=false", "-purge-from", "127.0.0.1"}},
		"oxid":     {"", `[<esi:include src="/menu"/>]`, `[<esi:include src="/menu"/>]`, []string{"-shop", "oxid", "-origin", "http://127.0.0.1:1"}},
	} {
		t.Run(name, func(t *testing.T) {
			apps := backendFunc(t, func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Type", "text/html; charset=UTF-8")
				w.Header().Set("Cache-Control", "public, max-age=60, s-maxage=60")
				if r.URL.Path != "/page" {
					fmt.Fprint(w, "menu")
					return
				}
				if c.control != "" {
					w.Header().Set("Surrogate-Control", c.control)
				}
				if name == "pinned" { // by the pool, which then keeps the page from all caches
					w.Header().Set("Cache-Control", "private")
					w.Header().Set("Set-Cookie", "session=1")
				}
				if told := strings.Contains(r.Header.Get("Surrogate-Capability"), "ESI/1.0"); told != (c.want == "[menu]") {
					t.Errorf("the shop is told that somebody composes: %t", told)
				}
				fmt.Fprint(w, c.page)
			})
			addr, _ := startGateway(t, append([]string{"-backends", apps}, c.flags...)...)
			for range 2 {
				if _, got := sendTarget(t, addr, "GET", "/page"); got != c.want {
					t.Errorf("got %s, want %s", got, c.want)
				}
			}
		})
	}
}
