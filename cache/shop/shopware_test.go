package shop

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/foretier/foretier/cache"
)

// shopwareShop answers as Shopware does (shopware/shopware: src/Core/Framework/Adapter/
// Cache/Http/CacheResponseSubscriber.php, c82b12c6610e, 6.6; from 6.7 on
// CacheHeadersService.php, 98f226a28329). The session's name says the rules that
// hold for its visitor, and the currency; a hash stands for both.
func shopwareShop(modern bool) func(http.ResponseWriter, *http.Request, int) {
	return func(w http.ResponseWriter, r *http.Request, n int) {
		rules, currency := "", "EUR"
		if c, err := r.Cookie("session-"); err == nil {
			parts := strings.Split(c.Value, "-")
			rules, currency = parts[0], parts[1]
		}
		h := w.Header()
		h.Set("Cache-Control", "public, s-maxage=7200")
		h.Set("xkey", "product-1 category-2")
		h.Set("sw-invalidation-states", "logged-in")
		if _, err := r.Cookie("session-"); err != nil {
			h.Add("Set-Cookie", "session-=-EUR-new; path=/; HttpOnly")
		}
		hash := ""
		if rules != "" || modern && currency != "EUR" {
			hash = "hash-" + rules + currency
		}
		sent, _ := r.Cookie("sw-cache-hash")
		if hash != "" && (sent == nil || sent.Value != hash) {
			h.Add("Set-Cookie", "sw-cache-hash="+hash+"; path=/")
		} else if hash == "" && sent != nil {
			h.Add("Set-Cookie", "sw-cache-hash=deleted; expires=Thu, 01-Jan-1970 00:00:01 GMT; path=/")
		}
		if modern {
			h.Set("Vary", "sw-language-id, sw-currency-id, sw-cache-hash")
			h.Set("sw-language-id", "german")
			h.Set("sw-currency-id", currency)
			if hash != "" {
				h.Set("sw-cache-hash", hash)
			}
		}
		switch r.URL.Path {
		case "/bypass":
			h.Set("sw-dynamic-cache-bypass", "1")
		case "/private":
			h.Set("Cache-Control", "no-cache, private")
		case "/states":
			h.Add("Set-Cookie", "sw-states=cart-filled; path=/")
		case "/no-such-page":
			w.WriteHeader(http.StatusNotFound)
		}
		fmt.Fprintf(w, "%s %s %d", rules, currency, n)
	}
}

func shopwareVisitor(rules, currency string) string {
	return "Cookie: session-=" + rules + "-" + currency + "-1; sw-cache-hash=hash-" + rules + currency
}

func shopware(t *testing.T, modern bool) *tier {
	return open(t, cache.Options{Rules: Shopware()}, shopwareShop(modern))
}

// TestShopwarePlans, after shopware/varnish-shopware: 6.7/rootfs/etc/varnish/default.vcl
// (90695ab24555).
func TestShopwarePlans(t *testing.T) {
	plans(t, Shopware(), []planned{
		{url: "/"},
		{url: "/a", fields: []string{"Cookie: session-=1; timezone=Europe/Berlin"}},
		{url: "/a", fields: []string{"Cookie: sw-cache-hash=abc; sw-currency=USD"}, key: "sw-cache-hash=abc"},
		{url: "/a", fields: []string{"Cookie: sw-currency=USD"}, key: "sw-currency=USD"},
		{url: "/a", fields: []string{"Cookie: sw-cache-hash=abc; sw-states=logged-in,cart-filled"}, key: "sw-cache-hash=abc logged-in cart-filled"},
		{url: "/a", fields: []string{"Cookie: sw-cache-hash=abc", "sw-cache-hash: def"}, key: "sw-cache-hash=def by field"},
		{url: "/a", fields: []string{"Cookie: sw-cache-hash=abc", "sw-cache-hash: abc"}, key: "sw-cache-hash=abc"},
		{url: "/a", fields: []string{"Cookie: sw-cache-hash=not-cacheable"}, pass: true},
		{url: "/a", fields: []string{"Authorization: Bearer t"}, pass: true},
		{url: "/checkout/cart", pass: true},
		{url: "/account", pass: true},
		{url: "/accounting"},
		{url: "/api/_info/config", pass: true},
		{url: "/admin", pass: true},
		{url: "/theme/a.css", fields: []string{"Cookie: sw-cache-hash=abc; sw-currency=USD"}},
		{url: "/theme/../a", fields: []string{"Cookie: sw-cache-hash=abc"}, key: "sw-cache-hash=abc"},
		{url: "/store-api/product/1", fields: []string{"sw-access-key: k", "sw-currency-id: USD"}, key: "Sw-Access-Key=k Sw-Currency-Id=USD"},
		{url: "/store-api/product/1", fields: []string{"sw-access-key: k", "sw-context-token: t"}, pass: true},
		{url: "/a?utm_source=a+b&p=2&gclid=x&basi=1&si=7&order=name", query: "basi=1&order=name&p=2"},
	})
}

// TestShopwareStores: pages once for each hash.
func TestShopwareStores(t *testing.T) {
	for _, modern := range []bool{false, true} {
		x := shopware(t, modern)
		page := "http://shop.example/a"
		x.wants(" EUR 1", page)
		w := x.ask(page, "Cookie: session-=-EUR-7")
		if w.Body.String() != " EUR 1" || w.Header()["Set-Cookie"] != nil || w.Header()["Xkey"] != nil || w.Header()["Sw-Invalidation-States"] != nil {
			t.Errorf("a second guest gets %q, %v", w.Body, w.Header())
		}
		if got := w.Header().Get("Cache-Control"); got != notInBrowsers {
			t.Errorf("browsers are told %q", got)
		}
		for _, rules := range []string{"vip", "net"} {
			first := x.ask(page, shopwareVisitor(rules, "EUR")).Body.String()
			x.wants(first, page, shopwareVisitor(rules, "EUR"))
			if !strings.HasPrefix(first, rules+" ") {
				t.Errorf("%s gets %q", rules, first)
			}
		}
		for _, path := range []string{"/bypass", "/private", "/states", "/no-such-page"} {
			for i := range 2 {
				w := x.ask("http://shop.example" + path)
				if !strings.HasSuffix(w.Body.String(), fmt.Sprint(" ", i+1)) || w.Header()["Set-Cookie"] == nil || w.Header()["Sw-Dynamic-Cache-Bypass"] != nil {
					t.Errorf("%s: %d %q, %v", path, w.Code, w.Body, w.Header())
				}
			}
		}
		x.ask("http://shop.example/store-api/a")
		if got := x.ask("http://shop.example/theme/a.css").Header().Get("Cache-Control"); got != "public, s-maxage=7200" {
			t.Errorf("of a file in theme browsers are told %q", got)
		}
	}
}

// TestShopwareGroupsStayApart, whatever visitors say of themselves.
func TestShopwareGroupsStayApart(t *testing.T) {
	attacks := []string{
		"Cookie: sw-cache-hash=hash-vipEUR",                                                   // nobody with a group's hash
		"Cookie: session-=-EUR-1; sw-cache-hash=hash-vipEUR",                                  // a guest with it
		"Cookie: session-=net-EUR-1; sw-cache-hash=hash-vipEUR",                               // a customer with another's
		"Cookie: session-=vip-EUR-1",                                                          // a customer without
		"Cookie: session-=vip-EUR-1; sw%2Dcache-hash=hash-vipEUR",                             // as an old PHP reads it
		"Cookie: session-=vip-EUR-1; sw-cache-hash=hash-vipEUR; sw-cache-hash=hash-netEUR",    // two
		"Cookie: session-=-USD-1",                                                             // a guest with a currency, who lost its cookie
		"Cookie: session-=-EUR-1; sw-currency=USD",                                            // a guest without one, who says so
		"Cookie: session-=-GBP-1; sw-currency=USD",                                            // or another
		"sw-cache-hash: hash-vipEUR",                                                          // by field alone
		"sw-cache-hash: hash-vipEUR\nCookie: session-=net-EUR-1; sw-cache-hash=hash-netEUR",   // and another by cookie
		"sw-cache-hash: hash-netEUR\nCookie: session-=vip-EUR-1; sw-cache-hash=hash-vipEUR",   // likewise
		"Sw-Currency-Id: USD\nCookie: session-=vip-EUR-1; sw-cache-hash=hash-vipEUR",          // in the key anyway
		"sw-cache-hash: not-cacheable\nCookie: session-=vip-EUR-1; sw-cache-hash=hash-vipEUR", // passes
	}
	for _, modern := range []bool{false, true} {
		x := shopware(t, modern)
		page := "http://shop.example/a"
		for range 2 {
			for _, attack := range attacks {
				x.ask(page, strings.Split(attack, "\n")...)
			}
		}
		for _, c := range []struct{ rules, currency, fields string }{
			{"", "EUR", "Cookie: a=b"},
			{"", "EUR", ""},
			{"", "USD", "Cookie: session-=-USD-2; sw-currency=USD"},
			{"vip", "EUR", shopwareVisitor("vip", "EUR")},
			{"net", "EUR", shopwareVisitor("net", "EUR")},
		} {
			for range 2 {
				if got := x.ask(page, strings.Split(c.fields, "\n")...).Body.String(); !strings.HasPrefix(got, c.rules+" "+c.currency+" ") {
					t.Errorf("modern %t: %q gets %q, want %s in %s", modern, c.fields, got, c.rules, c.currency)
				}
			}
		}
	}
}

// TestShopwareHeadless: a hash by field is in the key if the answer confirms it.
func TestShopwareHeadless(t *testing.T) {
	x := open(t, cache.Options{Rules: Shopware()}, func(w http.ResponseWriter, r *http.Request, n int) {
		w.Header().Set("Cache-Control", "public, s-maxage=7200")
		w.Header().Set("Vary", "sw-cache-hash")
		w.Header().Set("sw-cache-hash", r.Header.Get("X-True"))
		fmt.Fprint(w, r.Header.Get("X-True"), " ", n)
	})
	url := "http://shop.example/store-api/product"
	x.wants("b 1", url, "sw-cache-hash: a", "X-True: b")
	x.ask(url, "sw-cache-hash: a", "X-True: a") // not to be stored lately
	x.wants("a 3", url, "sw-cache-hash: a", "X-True: a")
	x.wants("a 3", url, "sw-cache-hash: a", "X-True: b")
	if got := x.ask(url, "sw-cache-hash: a").Header().Get("Cache-Control"); got != "public, s-maxage=7200" {
		t.Errorf("clients are told %q", got)
	}
}

// TestShopwareGrace: a group's page is not refreshed on nobody's behalf.
func TestShopwareGrace(t *testing.T) {
	for _, modern := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			x := shopware(t, modern)
			page := "http://shop.example/a"
			x.wants(" EUR 1", page)
			x.wants("vip EUR 2", page, shopwareVisitor("vip", "EUR"))
			time.Sleep(2*time.Hour + time.Minute)
			x.wants(" EUR 1", page)
			synctest.Wait()
			x.wants(" EUR 3", page)
			x.wants("vip EUR 4", page, shopwareVisitor("vip", "EUR"))
			x.purges(200, "responses: 2", "PURGE", "http://tier/", "xkey: product-1", "Soft-Purge: 1")
			x.wants("vip EUR 4", page, shopwareVisitor("vip", "EUR"))
			synctest.Wait()
			time.Sleep(11 * time.Second)
			x.ask(page, shopwareVisitor("vip", "EUR"))
			x.ask(page, shopwareVisitor("vip", "EUR"))
			if got := x.ask(page, shopwareVisitor("vip", "EUR")).Body.String(); !strings.HasPrefix(got, "vip ") {
				t.Errorf("%q", got)
			}
		})
	}
}

// TestShopwarePurges sends what Shopware sends (shopware/shopware: src/Core/Framework/
// Adapter/Cache/ReverseProxy/VarnishReverseProxyGateway.php, 108737da8db7, and
// RedisReverseProxyGateway.php, 4ef92f7a6c10, with the method BAN of the handbook):
// PURGE to each of the configured hosts, up to 50 tags in xkey; a path, and / for all.
func TestShopwarePurges(t *testing.T) {
	x := shopware(t, true)
	fill := func() {
		x.ask("http://shop.example/a")
		x.ask("http://shop.example/a?p=2")
		x.ask("https://de.shop.example/b")
		x.ask("https://de.shop.example/b", shopwareVisitor("vip", "EUR"))
	}
	tier := "http://varnish"
	fill()
	x.purges(200, "responses: 4", "PURGE", tier, "xkey: product-9 product-1 category-2")
	fill()
	x.purges(200, "responses: 0", "PURGE", tier, "xkey: product-9 product")
	x.purges(200, "responses: 2", "PURGE", tier+"/b")
	fill()
	x.purges(200, "responses: 2", "BAN", tier+"/a")
	fill()
	x.purges(200, "responses: 4", "BAN", tier+"/")
	fill()
	x.purges(200, "responses: 4", "PURGE", tier+"/")
	fill()
	x.purges(400, "xkey", "PURGEKEYS", tier+"/")
	x.wants(" EUR 5", "http://shop.example/a")
}
