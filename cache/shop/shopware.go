package shop

import (
	"net/http"
	"slices"
	"strings"

	"github.com/foretier/foretier/cache"
	"github.com/foretier/foretier/internal/fields"
)

// Shopware returns the rules for Shopware 6 whose reverse proxy is enabled with xkey
// (Redis and BAN, up to 6.6, are understood too).
//
// Stored is what Shopware says is public, with sw-cache-hash, by cookie or field, in
// the key, else sw-currency, and whether a visitor is logged in or has a cart
// (sw-states), which some pages must not be shown. An answer that sets one of them anew
// was made for another key, and is its visitor's alone; so is one for a hash that a
// field alone names and the answer does not confirm, and, up to 6.6, one for a guest
// with a session, which may have another currency. The others lose their Set-Cookie.
// What has an Authorization, checkout, account, admin and api pass. Parameters of
// marketing are dropped, the rest sorted. Browsers are told to keep no page, only what
// lies in theme, media, thumbnail, bundles and the store API.
//
// Purges are read as Shopware sends them: PURGE with xkey, which every purge handler
// understands; PURGE or BAN of a path, on every host and with all below it, since it is
// sent to the tier's own address; and of / for everything.
//
// The widget of the cart (/widgets/checkout/info) is asked for with every page: a rule
// of the router that answers 204 to visitors without a hash keeps that from the backends.
func Shopware() cache.Rules {
	return cache.Rules{Plan: shopwarePlan, Retention: shopwareRetention, Purge: shopwarePurge}
}

const (
	shopwareHash     = "sw-cache-hash" // a cookie, and a field
	shopwareCurrency = "sw-currency"
	shopwareStates   = "sw-states"
)

// shopwareQuery holds the parameters that Shopware's own configuration for Varnish
// takes off.
var shopwareQuery = cache.Query{Sort: true, Drop: []string{
	"_branch_match_id", "_bta_c", "_bta_tid", "_ga", "_gl", "_ke", "_kx", "adgid", "adgroupid", "adid", "camid", "campaignid",
	"campid", "chl", "cof", "customid", "cx", "dclid", "dm_i", "dv", "ef_id", "epik", "fb_action_ids", "fb_action_types",
	"fb_source", "fbclid", "gPromoCode", "gQT", "gad_campaignid", "gad_source", "gbraid", "gclid", "gclsrc", "gdffi", "gdfms",
	"gdftrk", "hsa_*", "ie", "igshid", "irclickid", "klar_*", "kw", "kwid", "matomo_*", "mc_cid", "mc_eid", "mkcid", "mkevt",
	"mkrid", "mkwid", "msclkid", "mtm_*", "nk", "pa", "pcrid", "piwik_*", "pixelId", "pk_campaign", "pk_keyword", "pk_kwd",
	"pp", "redirect_log_mongo_id", "redirect_mongo_id", "rtid", "s_kwcid", "sb_referer_host", "ScCid", "si", "siteurl",
	"srsltid", "toolid", "trk_*", "ttclid", "twclid", "utm_*", "wbraid", "yclid",
}}

func shopwarePlan(r *http.Request) cache.Plan {
	path := r.URL.Path
	plan := cache.Plan{Query: shopwareQuery, Shared: true}
	hash, ofField := shopwareHashOf(r)
	switch {
	case r.Header["Authorization"] != nil:
		plan.Pass, plan.Why = true, "authorization"
	case under(path, "/checkout", "/account", "/admin", "/api"):
		plan.Pass, plan.Why = true, "checkout, account, admin or API"
	case shopwareStatic(path):
		plan.Cookies, plan.Why = []string{}, "static"
	case hash == "not-cacheable":
		plan.Pass, plan.Why = true, hash
	case hash == "" && r.Header["Sw-Context-Token"] != nil:
		plan.Pass, plan.Why = true, "context token"
	default:
		plan.Why = "page"
		plan.Key = shopwareKey(r, hash, ofField)
	}
	return plan
}

func shopwareStatic(path string) bool {
	return under(path, "/media", "/thumbnail", "/theme", "/bundles") && !strings.Contains(path, "..")
}

// shopwareHashOf returns the hash of what a visitor's pages depend on, and whether a
// field says so, which precedes the cookie. Shopware itself looks at the cookie.
func shopwareHashOf(r *http.Request) (hash string, ofField bool) {
	sent := cookie(r, shopwareHash)
	if field := one(r.Header["Sw-Cache-Hash"]); field != "" && field != sent {
		return field, true
	}
	return sent, false
}

// shopwareKey returns what is in the key of a page.
func shopwareKey(r *http.Request, hash string, ofField bool) (key []string) {
	key = part(key, shopwareHash, hash)
	if ofField {
		key = append(key, "by field")
	}
	if hash == "" {
		key = part(key, shopwareCurrency, cookie(r, shopwareCurrency))
	}
	states := cookie(r, shopwareStates)
	for _, state := range [...]string{"logged-in", "cart-filled"} {
		if strings.Contains(states, state) {
			key = append(key, state)
		}
	}
	// Where Vary does not name them: before 6.8 it names none.
	for _, name := range [...]string{"Sw-Access-Key", "Sw-Language-Id", "Sw-Currency-Id", "Sw-Include-Seo-Urls"} {
		key = part(key, name, one(r.Header[name]))
	}
	return key
}

func shopwareRetention(r *http.Request, head cache.Head, v cache.Retention) cache.Retention {
	static := shopwareStatic(r.URL.Path)
	if !static && !under(r.URL.Path, "/store-api") && !private(head.Header) {
		v.Downstream = notInBrowsers
	}
	bypass := head.Header.Get("Sw-Dynamic-Cache-Bypass") == "1"
	v.Strip = append(v.Strip, "Sw-Invalidation-States", "Sw-Dynamic-Cache-Bypass")
	switch {
	case !v.Store && !v.SetsCookie || static:
		return v
	case bypass:
		return refuse(v, "sw-dynamic-cache-bypass")
	case head.Status >= 400:
		return refuse(v, "an error")
	case sets(head.Header, shopwareHash, shopwareStates, shopwareCurrency):
		return refuse(v, "of another key")
	case !shopwareConfirms(r, head):
		return refuse(v, "does not confirm its key")
	}
	return keep(v, len(head.Key) > 0)
}

// shopwareConfirms reports whether an answer was made for its key, given that it sets
// no cookie. From 6.7 on it says what it was made for.
func shopwareConfirms(r *http.Request, head cache.Head) bool {
	hash, confirmed := keyed(head.Key, shopwareHash), head.Header.Get("Sw-Cache-Hash")
	currency, made := keyed(head.Key, shopwareCurrency), head.Header.Get("Sw-Currency-Id")
	switch {
	case confirmed != "":
		return confirmed == hash
	case hash != "":
		return cookie(r, shopwareHash) == hash // to which nothing was objected
	case currency != "":
		return made == currency
	case made != "":
		return true
	}
	// A guest's session may have another currency, of which nothing is said.
	for name := range fields.Cookies(r.Header) {
		if !slices.Contains(shopwareHarmless, name) {
			return false
		}
	}
	return true
}

// shopwareHarmless are cookies that scripts set.
var shopwareHarmless = []string{"timezone", "cookie-preference", "wishlist-enabled"}

func shopwarePurge(r *http.Request) ([]cache.Invalidation, error) {
	if r.Header["Xkey"] != nil || r.Method != "PURGE" && r.Method != "BAN" {
		return nil, nil
	}
	if path := r.URL.EscapedPath(); path != "/" && path != "" {
		return []cache.Invalidation{{PathPrefix: path}}, nil
	}
	return []cache.Invalidation{{All: true}}, nil
}
