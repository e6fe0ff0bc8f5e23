package shop

import (
	"errors"
	"net/http"
	"net/url"
	"strings"

	"github.com/foretier/foretier/cache"
	"github.com/foretier/foretier/internal/fields"
)

// WordPress returns the rules for WordPress, with or without WooCommerce or Easy
// Digital Downloads.
//
// Whoever is logged in, has commented, has given a password for a page or has a cart
// passes; so do admin, login, cron and XML-RPC, previews, what puts something into a
// cart, the shop's own API, and whatever has an Authorization or a nonce. Of all others
// the pages are stored as the law says; WordPress states no lifetime, so the cache has to
// be told one:
//
//	cache.Options{Rules: shop.WordPress(), Lifetimes: map[int]time.Duration{200: time.Minute}}
//
// Parameters of marketing are dropped. X-Cache-Tags is read, and taken off.
//
// Purges are read as Proxy Cache Purge and WP Rocket send them: a PURGE of a URL; with
// "X-Purge-Method: regex" of a path that ends in .*, for all below it; by
// X-Cache-Tags-Pattern, or X-Cache-Tags, of the host alone, since all WordPress have
// the same tags.
func WordPress() cache.Rules {
	return cache.Rules{Plan: wordPressPlan, Retention: wordPressRetention, Purge: wordPressPurge}
}

// wordPressVisitors are the cookies of those for whom pages are made.
var wordPressVisitors = []string{
	"wordpress_logged_in_*", "wordpress_sec_*", "wordpress_no_cache", "wp-postpass_*", "comment_author_*",
	"woocommerce_items_in_cart", "woocommerce_cart_hash", "wp_woocommerce_session_*", "edd_items_in_cart",
}

// wordPressActs are the parameters of what is no page, or one visitor's.
var wordPressActs = []string{
	"preview", "preview_id", "customize_changeset_uuid", "wc-ajax", "wc-api", "add-to-cart", "remove_item", "removed_item",
	"undo_item", "edd_action", "_wpnonce", "doing_wp_cron", "replytocom", "unapproved",
}

func wordPressPlan(r *http.Request) cache.Plan {
	path := strings.ToLower(r.URL.Path)
	plan := cache.Plan{Query: cache.Query{Drop: cache.Tracking()}}
	switch {
	case cache.HasCookie(r, wordPressVisitors...):
		plan.Pass, plan.Why = true, "logged in, has commented, or has a cart"
	case r.Header["Authorization"] != nil || r.Header["X-Wp-Nonce"] != nil:
		plan.Pass, plan.Why = true, "authorization"
	case wordPressOwn(path):
		plan.Pass, plan.Why = true, "admin, login, cron or API"
	case acts(r.URL.RawQuery):
		plan.Pass, plan.Why = true, "no page"
	}
	return plan
}

// wordPressOwn reports whether a path, of a site in a directory too, is none of a
// page.
func wordPressOwn(path string) bool {
	for _, own := range [...]string{
		"/wp-admin", "/wp-login.php", "/wp-cron.php", "/wp-signup.php", "/wp-activate.php", "/wp-comments-post.php",
		"/xmlrpc.php", "/wp-json/wc", "/wc-api",
	} {
		if strings.Contains(path, own) {
			return true
		}
	}
	return false
}

// acts reports whether a query has one of the parameters.
func acts(query string) bool {
	for pair := range strings.SplitSeq(query, "&") {
		name, value, _ := strings.Cut(pair, "=")
		if decoded, err := url.QueryUnescape(name); err == nil {
			name = decoded
		}
		for _, act := range wordPressActs {
			if name == act {
				return true
			}
		}
		if name == "rest_route" && strings.Contains(strings.ToLower(value), "wc") {
			return true
		}
	}
	return false
}

func wordPressRetention(_ *http.Request, head cache.Head, v cache.Retention) cache.Retention {
	for _, line := range head.Header["X-Cache-Tags"] {
		v.Tags = append(v.Tags, strings.FieldsFunc(line, func(c rune) bool { return c == ',' || c == ' ' })...)
	}
	v.Strip = append(v.Strip, "X-Cache-Tags")
	return v
}

// errWordPressPattern says which patterns of paths there are.
var errWordPressPattern = errors.New("X-Purge-Method: regex is understood for a path that ends in .*, with no other pattern in it")

func wordPressPurge(r *http.Request) ([]cache.Invalidation, error) {
	for _, field := range [...]string{"X-Cache-Tags-Pattern", "X-Cache-Tags"} {
		if lines := r.Header[field]; lines != nil {
			inv, err := patternOf(field, "", lines)
			if inv.All = false; len(inv.Tags) == 0 && err == nil {
				return []cache.Invalidation{{Host: hostname(r)}}, nil
			}
			inv.Host = hostname(r)
			return []cache.Invalidation{inv}, err
		}
	}
	if method := r.Header.Get("X-Purge-Method"); !strings.EqualFold(method, "regex") {
		return nil, nil
	}
	prefix, ok := strings.CutSuffix(r.URL.EscapedPath(), ".*")
	if !ok || strings.ContainsAny(prefix, `*\()[]^$|`) {
		return nil, errWordPressPattern
	}
	inv := cache.Invalidation{Host: hostname(r)}
	if prefix = strings.TrimSuffix(prefix, "/"); prefix != "" {
		inv.PathPrefix = prefix
	}
	return []cache.Invalidation{inv}, nil
}

// hostname returns the host that a purge is sent to, on every port.
func hostname(r *http.Request) string { return fields.Hostname(r.Host) }
