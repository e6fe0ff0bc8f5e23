package shop

import (
	"crypto/sha1"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/foretier/foretier/cache"
)

// magentoShop answers as Magento 2.4 does (magento/magento2:
// lib/internal/Magento/Framework/App/Response/Http.php, sendVary; app/code/Magento/
// PageCache/Model/App/Response/HttpPlugin.php): pages are public, each answer sets
// X-Magento-Vary to what the session's group makes of it, or deletes it.
func magentoShop(w http.ResponseWriter, r *http.Request, n int) {
	group := ""
	if c, err := r.Cookie("PHPSESSID"); err == nil {
		group, _, _ = strings.Cut(c.Value, "-") // the session's name says its group
	}
	h := w.Header()
	h.Set("Cache-Control", "max-age=86400, public, s-maxage=86400")
	h.Set("Expires", "Fri, 27 Nov 2099 10:00:00 GMT")
	h.Add("Set-Cookie", "PHPSESSID=new; path=/; HttpOnly")
	h.Set("X-Magento-Tags", "FPC,cat_p_1,store")
	h.Set("X-Pool", "release-7")
	sent, err := r.Cookie("X-Magento-Vary")
	switch {
	case group != "":
		h.Add("Set-Cookie", "X-Magento-Vary="+vary(group)+"; path=/; HttpOnly")
	case err == nil && sent.Value != "":
		h.Add("Set-Cookie", "X-Magento-Vary=deleted; expires=Thu, 01-Jan-1970 00:00:01 GMT; Max-Age=0; path=/")
	}
	if strings.Contains(r.URL.Path, "graphql") {
		h.Del("Set-Cookie")
		h.Set("X-Magento-Cache-Id", "id-"+strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "))
	}
	switch r.URL.Path {
	case "/private":
		h.Set("Cache-Control", "private, no-store, max-age=0")
	case "/message":
		h.Add("Set-Cookie", "mage-messages=%5B%7B%22text%22%3A%22for+you%22%7D%5D; path=/")
	case "/changes":
		h.Add("Set-Cookie", "private_content_version=1; path=/")
	case "/no-such-page":
		w.WriteHeader(http.StatusNotFound)
	case "/broken":
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	fmt.Fprintf(w, "%s %d", group, n)
}

func vary(group string) string { return fmt.Sprintf("%x", sha1.Sum([]byte(group))) }

func visitor(group string) string {
	return "Cookie: form_key=x; PHPSESSID=" + group + "-1; X-Magento-Vary=" + vary(group)
}

func magento(t *testing.T) *tier {
	return open(t, cache.Options{Rules: Magento()}, magentoShop)
}

// TestMagentoPlans: what is passed and what is in the key, after
// magento/magento2: app/code/Magento/PageCache/etc/varnish7.vcl (028e670b7999).
func TestMagentoPlans(t *testing.T) {
	plans(t, Magento(), []planned{
		{url: "/"},
		{url: "/", fields: []string{"Cookie: PHPSESSID=1; form_key=2; mage-cache-sessid=true; private_content_version=3"}},
		{url: "/a.html", fields: []string{"Cookie: a=b; X-Magento-Vary=abc"}, key: "X-Magento-Vary=abc"},
		{url: "/a.html", fields: []string{"Cookie: X-Magento-Vary=abc; X-Magento-Vary=def"}, key: "X-Magento-Vary=several: abc; def"},
		{url: "/customer/account", pass: true},
		{url: "/de/checkout/cart", pass: true},
		{url: "/de/Checkout/cart", pass: true},
		{url: "/media/customer/1.jpg", pass: true},
		{url: "/a.html", fields: []string{"Authorization: Basic eA=="}, pass: true},
		{url: "/health_check.php", pass: true},
		{url: "/pub/health_check.php", pass: true},
		{url: "/static/version1/a.css", fields: []string{"Cookie: X-Magento-Vary=abc"}},
		{url: "/graphql?query={a}", query: "query={a}"},
		{url: "/graphql?query={a}", fields: []string{"Store: de", "Content-Currency: EUR"}, key: "Store=de Content-Currency=EUR", query: "query={a}"},
		{url: "/graphql", fields: []string{"Authorization: Bearer t"}, pass: true},
		{url: "/graphql", fields: []string{"Authorization: Basic t"}, pass: true},
		{url: "/graphql", fields: []string{"X-Magento-Cache-Id: 7", "Cookie: X-Magento-Vary=abc"}, key: "X-Magento-Cache-Id=7"},
		{url: "/graphql", fields: []string{"X-Magento-Cache-Id: 7", "Authorization: Bearer t", "Store: de"}, key: "X-Magento-Cache-Id=7 authorized Store=de"},
		{url: "/graphql", fields: []string{"Cookie: X-Magento-Vary=abc"}, key: "X-Magento-Vary=abc"},
		{url: "/a.html?utm_source=a+b&p=2&gclid=x&basi=1&mc_cid=7&color=red", query: "basi=1&color=red&p=2"},
		{url: "/a.html?p=2&p=1&a=b", query: "a=b&p=2&p=1"},
	})
}

// TestMagentoStores: pages once for each group, without the cookies of the first
// visitor; browsers keep none.
func TestMagentoStores(t *testing.T) {
	x := magento(t)
	x.wants(" 1", "http://shop.example/a.html", "Cookie: PHPSESSID=-9")
	w := x.ask("http://shop.example/a.html?gclid=7")
	if w.Body.String() != " 1" || w.Header()["Set-Cookie"] != nil || w.Header()["X-Magento-Tags"] != nil {
		t.Errorf("a second guest gets %q, %v", w.Body, w.Header())
	}
	if h := w.Header(); h.Get("Cache-Control") != notInBrowsers || h["Expires"] != nil {
		t.Errorf("browsers are told %v", h)
	}
	for _, group := range []string{"wholesale", "german"} {
		first := x.ask("http://shop.example/a.html", visitor(group)).Body.String()
		x.wants(first, "http://shop.example/a.html", visitor(group))
		if !strings.HasPrefix(first, group) {
			t.Errorf("%s gets %q", group, first)
		}
	}
	x.wants(" 1", "http://shop.example/a.html")
	for _, path := range []string{"/private", "/message", "/changes", "/no-such-page", "/broken"} {
		for i := range 2 {
			w := x.ask("http://shop.example" + path)
			if !strings.HasSuffix(w.Body.String(), fmt.Sprint(" ", i+1)) || w.Header()["Set-Cookie"] == nil {
				t.Errorf("%s: %d %q, %v", path, w.Code, w.Body, w.Header())
			}
		}
	}
	x.ask("http://shop.example/static/a.css", visitor("wholesale"))
	if h := x.ask("http://shop.example/static/b.css").Header(); !strings.Contains(h.Get("Cache-Control"), "public") {
		t.Errorf("of a file in static browsers are told %v", h)
	}
}

// TestMagentoGroupsStayApart, whatever visitors say of their group (magento/magento2
// #9083: an old cookie fills the pages of its group).
func TestMagentoGroupsStayApart(t *testing.T) {
	x := magento(t)
	page := "http://shop.example/a.html"
	attacks := map[string]string{
		"a guest with the cookie of a group":         "Cookie: PHPSESSID=-1; X-Magento-Vary=" + vary("wholesale"),
		"nobody with it":                             "Cookie: X-Magento-Vary=" + vary("wholesale"),
		"a customer with another group's":            "Cookie: PHPSESSID=german-1; X-Magento-Vary=" + vary("wholesale"),
		"a customer without a cookie":                "Cookie: PHPSESSID=wholesale-1",
		"a customer whose cookie is called as PHP's": "Cookie: PHPSESSID=wholesale-1; X-Magento-Vary=" + vary("german") + "; X%2DMagento-Vary=" + vary("wholesale"),
		"two cookies":                                "Cookie: PHPSESSID=wholesale-1; X-Magento-Vary=" + vary("german") + "; X-Magento-Vary=" + vary("wholesale"),
	}
	for range 2 {
		for _, attack := range attacks {
			x.ask(page, attack)
		}
	}
	for _, group := range []string{"", "wholesale", "german"} {
		cookie := "Cookie: form_key=x"
		if group != "" {
			cookie = visitor(group)
		}
		for range 2 {
			if got := x.ask(page, cookie).Body.String(); !strings.HasPrefix(got, group+" ") {
				t.Errorf("%q gets %q", group, got)
			}
		}
	}
	// Nor do those of a group who ask for a page with Authorization fill it for others.
	x.ask("http://shop.example/b.html", "Authorization: Basic eA==", "Cookie: PHPSESSID=wholesale-1")
	x.wants(" 2", "http://shop.example/b.html")
}

// TestMagentoGraphQL: an answer is stored under the cache id that it states.
func TestMagentoGraphQL(t *testing.T) {
	x := magento(t)
	url := "http://shop.example/graphql?query={a}"
	x.wants(" 1", url, "Authorization: Bearer a") // without an id: not stored
	x.wants(" 2", url, "Authorization: Bearer b", "X-Magento-Cache-Id: id-a")
	x.wants(" 3", url, "Authorization: Bearer a", "X-Magento-Cache-Id: id-a")
	x.wants(" 3", url, "Authorization: Bearer a", "X-Magento-Cache-Id: id-a")
	x.wants(" 4", url, "X-Magento-Cache-Id: id-a") // a guest with a customer's id
	x.wants(" 5", url, "X-Magento-Cache-Id: id-")
	x.wants(" 5", url, "X-Magento-Cache-Id: id-")
	x.wants(" 6", url, "X-Magento-Cache-Id: id-", "Store: de")
	x.wants(" 7", url)
	x.wants(" 7", url)
}

// TestMagentoGrace: 5 min while it is refreshed, 3 days while the backend fails; a
// group's pages are refreshed by its visitors only.
func TestMagentoGrace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		failing := false
		x := open(t, cache.Options{Rules: Magento()}, func(w http.ResponseWriter, r *http.Request, n int) {
			if failing {
				w.WriteHeader(http.StatusBadGateway)
				return
			}
			magentoShop(w, r, n)
		})
		page := "http://shop.example/a.html"
		x.wants(" 1", page)
		x.wants("wholesale 2", page, visitor("wholesale"))
		time.Sleep(24*time.Hour + time.Minute)
		x.wants(" 1", page)
		synctest.Wait()
		x.wants(" 3", page)
		x.wants("wholesale 4", page, visitor("wholesale"))
		x.wants("wholesale 4", page, visitor("wholesale"))
		failing = true
		time.Sleep(72 * time.Hour)
		x.wants(" 3", page)
		x.wants("wholesale 4", page, visitor("wholesale"))
	})
}

// TestMagentoPurges sends what Magento sends (magento/magento2: app/code/Magento/
// CacheInvalidate/Model/PurgeCache.php and Observer/InvalidateVarnishObserver.php,
// 2.4, 0db748b00843; Observer/FlushAllCacheObserver.php): PURGE / to each of the
// configured servers, with that server's name as Host; a product's tags in one
// pattern, in pieces of 7,680 bytes; .* for all.
func TestMagentoPurges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := magento(t)
		page, other := "http://shop.example/a.html", "https://de.shop.example/b.html"
		fill := func() {
			x.ask(page)
			x.ask(page, visitor("wholesale"))
			x.ask(other)
		}
		fill()
		tier := "http://10.0.0.2/"
		x.purges(200, "responses: 3", "PURGE", tier, "X-Magento-Tags-Pattern: ((^|,)cat_p_1(,|$))|((^|,)cat_p(,|$))")
		x.wants(" 3", page)
		fill()
		x.purges(200, "responses: 0", "PURGE", tier, "X-Magento-Tags-Pattern: ((^|,)cat_p(,|$))|((^|,)cat_p_12(,|$))")
		x.purges(200, "responses: 3", "PURGE", tier, "X-Magento-Tags-Pattern: .*")
		fill()
		x.purges(200, "responses: 3", "PURGE", tier, "X-Magento-Tags-Pattern: cat_p_1", "X-Magento-Purge-Soft: 1")
		fill()
		synctest.Wait() // they are being refreshed
		// capistrano-magento2 purges what an old release has answered.
		x.purges(200, "responses: 0", "PURGE", tier, "X-Pool: release-6")
		x.purges(200, "responses: 3", "PURGE", tier, "X-Pool: release-7")
		fill()
		for _, pattern := range []string{"cat_p_.*", "", "(cat_p_1", "cat_p_[0-9]+"} {
			x.purges(400, "X-Magento-Tags-Pattern is not understood here: want tags", "PURGE", tier, "X-Magento-Tags-Pattern: "+pattern)
		}
		x.purges(200, "responses: 2", "PURGE", page) // a URL
	})
}

// TestMagentoShopsBehindOneTier do not purge one another's products.
func TestMagentoShopsBehindOneTier(t *testing.T) {
	x := open(t, cache.Options{Rules: Magento(), PurgeByHost: true}, magentoShop)
	for _, host := range []string{"a.example", "b.example"} {
		x.wants(" 1", "http://"+host+"/")
	}
	x.purges(200, "responses: 1", "PURGE", "http://a.example/", "X-Magento-Tags-Pattern: ((^|,)cat_p_1(,|$))")
	x.wants(" 2", "http://a.example/")
	x.wants(" 1", "http://b.example/")
	x.purges(200, "responses: 1", "PURGE", "http://a.example/", "X-Magento-Tags-Pattern: .*")
	x.wants(" 1", "http://b.example/")
}

// TestMagentoHerd: visitors of all kinds who want a page that was purged wait for one
// fetch of their group.
func TestMagentoHerd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var calls atomic.Int32
		x := &tier{t: t}
		pages, err := cache.New(cache.Options{Rules: Magento()})
		if err != nil {
			t.Fatal(err)
		}
		defer pages.Close()
		x.front = pages.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			n := calls.Add(1)
			time.Sleep(time.Second)
			magentoShop(w, r, int(n))
		}))
		for i := range 30 {
			go func() {
				group, fields := "", fmt.Sprint("Cookie: form_key=x; PHPSESSID=-", i)
				if i%3 == 0 {
					group, fields = "wholesale", visitor("wholesale")
				}
				if got := x.ask("http://shop.example/a.html", fields).Body.String(); !strings.HasPrefix(got, group+" ") {
					t.Errorf("%q gets %q", fields, got)
				}
			}()
		}
		time.Sleep(10 * time.Second)
		if n := calls.Load(); n != 2 {
			t.Errorf("%d fetches", n)
		}
	})
}
