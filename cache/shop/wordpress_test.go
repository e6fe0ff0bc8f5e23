package shop

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/foretier/foretier/cache"
)

// TestWordPressPlans, after dvershinin/varnish-http-purge: tests/varnish/default.vcl
// (7ea5d1014a91), WooCommerce's "How to configure caching plugins", and the core's
// cookies.
func TestWordPressPlans(t *testing.T) {
	plans(t, WordPress(), []planned{
		{url: "/"},
		{url: "/", fields: []string{"Cookie: wordpress_test_cookie=1; pll_language=de"}},
		{url: "/", fields: []string{"Cookie: wordpress_logged_in_abc=1"}, pass: true},
		{url: "/", fields: []string{"Cookie: a=b; wordpress_sec_abc=1"}, pass: true},
		{url: "/", fields: []string{"Cookie: comment_author_abc=me"}, pass: true},
		{url: "/", fields: []string{"Cookie: comment_author_email_abc=me"}, pass: true},
		{url: "/", fields: []string{"Cookie: wp-postpass_abc=1"}, pass: true},
		{url: "/", fields: []string{"Cookie: woocommerce_items_in_cart=1"}, pass: true},
		{url: "/", fields: []string{`Cookie: wp_woocommerce_session_abc={"a":1}`}, pass: true},
		{url: "/", fields: []string{"Authorization: Basic eA=="}, pass: true},
		{url: "/wp-json/wp/v2/posts", fields: []string{"X-WP-Nonce: 1"}, pass: true},
		{url: "/wp-json/wp/v2/posts"},
		{url: "/wp-json/wc/store/v1/cart", pass: true},
		{url: "/wp-admin/", pass: true},
		{url: "/blog/wp-admin/admin-ajax.php", pass: true},
		{url: "/wp-login.php", pass: true},
		{url: "/wp-cron.php?doing_wp_cron", pass: true},
		{url: "/xmlrpc.php", pass: true},
		{url: "/?preview=true&p=7", pass: true},
		{url: "/?p=7&%61dd-to-cart=8", pass: true},
		{url: "/?rest_route=/wc/store/v1/cart", pass: true},
		{url: "/?wc-ajax=get_refreshed_fragments", pass: true},
		{url: "/wp-content/a.css?ver=6.8", query: "ver=6.8"},
		{url: "/?p=7&utm_source=x", query: "p=7"},
	})
}

// wordPress answers without a lifetime, as WordPress does; the cache is told one.
func wordPress(t *testing.T) *tier {
	opts := cache.Options{Rules: WordPress(), Lifetimes: map[int]time.Duration{200: time.Minute}}
	return open(t, opts, func(w http.ResponseWriter, r *http.Request, n int) {
		h := w.Header()
		h.Set("X-Cache-Tags", "site-1,p-7,pt-post")
		who := "guest"
		for _, c := range r.Cookies() {
			if c.Name == "wordpress_logged_in_abc" {
				who = c.Value
				h.Set("Cache-Control", "no-cache, must-revalidate, max-age=0, no-store, private")
			}
		}
		if r.URL.Path == "/sets" {
			h.Add("Set-Cookie", "wordpress_test_cookie=1")
		}
		fmt.Fprint(w, who, " ", n)
	})
}

// TestWordPressStores pages of those for whom none is made.
func TestWordPressStores(t *testing.T) {
	x := wordPress(t)
	page := "http://blog.example/a/"
	for _, who := range []string{"anna", "ben"} {
		x.ask(page, "Cookie: wordpress_logged_in_abc="+who)
		x.ask(page, "Cookie: wordpress.logged_in_abc="+who)
	}
	x.wants("guest 5", page)
	x.wants("guest 5", page, "Cookie: pll_language=de")
	x.wants("anna 6", page, "Cookie: wordpress_logged_in_abc=anna")
	w := x.ask(page)
	if w.Body.String() != "guest 5" || w.Header()["X-Cache-Tags"] != nil {
		t.Errorf("%q, %v", w.Body, w.Header())
	}
	x.wants("guest 1", "http://blog.example/sets")
	x.wants("guest 2", "http://blog.example/sets")
}

// TestWordPressPurges sends what Proxy Cache Purge 5.5 sends (dvershinin/
// varnish-http-purge: varnish-http-purge.php, purge_url and purge_tags), and WP Rocket
// (rocket_varnish_http_purge).
func TestWordPressPurges(t *testing.T) {
	x := wordPress(t)
	fill := func() {
		for _, url := range []string{"http://blog.example/", "http://blog.example/a/", "http://blog.example/a/b/", "http://other.example/"} {
			x.ask(url)
		}
	}
	fill()
	x.purges(200, "responses: 1", "PURGE", "http://blog.example/a/", "X-Purge-Method: default")
	fill()
	x.purges(200, "responses: 1", "PURGE", "http://blog.example/a/", "X-Purge-Method: exact")
	fill()
	x.purges(200, "responses: 3", "PURGE", "http://blog.example/.*", "X-Purge-Method: regex")
	fill()
	x.purges(200, "responses: 2", "PURGE", "http://blog.example/a/.*", "X-Purge-Method: regex")
	fill()
	x.purges(200, "responses: 3", "PURGE", "http://blog.example/", "X-Purge-Method: tags", "X-Cache-Tags-Pattern: p-8|p-7|home")
	fill()
	x.purges(200, "responses: 3", "PURGE", "http://blog.example/", "X-Purge-Method: tags", `X-Cache-Tags-Pattern: \bp-7\b`)
	fill()
	x.purges(200, "responses: 3", "PURGE", "http://blog.example/", "X-Purge-Method: tags", "X-Cache-Tags-Pattern: .*")
	fill()
	x.purges(200, "responses: 0", "PURGE", "http://blog.example/", "X-Purge-Method: tags", "X-Cache-Tags-Pattern: p-70|p")
	x.purges(400, "X-Cache-Tags-Pattern is not understood", "PURGE", "http://blog.example/", "X-Cache-Tags-Pattern: p-.*")
	for _, path := range []string{"/", "/a", "/a.*/b.*", "/(a|b).*"} {
		x.purges(400, "X-Purge-Method: regex is understood for a path that ends in .*", "PURGE", "http://blog.example"+path, "X-Purge-Method: regex")
	}
}
