package main

import (
	"errors"
	"net/http"
	"strings"

	"github.com/foretier/foretier/cache"
	"github.com/foretier/foretier/cache/shop"
	"github.com/foretier/foretier/router"
)

// A preset is what -shop sets.
type preset struct {
	admin  func(more ...string) *router.AdminMatcher
	rules  func() cache.Rules // nil: as without a shop
	purges bool               // its pages live until it purges them
	esi    bool               // it includes fragments if it is told that somebody composes
	mute   bool               // and does not say which of its pages do
	own    []router.Rule      // of what the gateway answers itself
	media  []string           // paths of files that admin's server writes
	write  router.Matcher     // how it is asked to, beside what is admin's; nil: in no other way
}

var presets = map[string]preset{
	"": {admin: router.Admin},
	"magento": {rules: shop.Magento, media: []string{"/media/*", "/pub/media/*"}, purges: true, esi: true, mute: true, admin: func(more ...string) *router.AdminMatcher {
		if len(more) == 0 {
			return router.Magento("admin") // there is no origin, for which it would be looked at
		}
		return router.Magento(strings.Trim(more[0], "/"), more[1:]...)
	}},
	"shopware":  {rules: shop.Shopware, media: []string{"/media/*", "/thumbnail/*"}, purges: true, esi: true, admin: router.Shopware, own: []router.Rule{emptyCart}},
	"wordpress": {rules: shop.WordPress, media: []string{"/wp-content/uploads/*"}, write: editorWrites, admin: router.WordPress},
	"oxid":      {media: []string{"/out/pictures/*", "/out/media/*"}, admin: router.OXID},
}

// editorWrites matches what the editor of a WordPress with plain permalinks saves: its
// uploads, which have no path of their own then, among it.
var editorWrites = router.All(router.Method(http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete), router.Query("rest_route"))

// emptyCart answers for the widget of a cart that is asked for with every page of a
// Shopware, where the visitor has none.
var emptyCart = router.Rule{
	Name: "empty cart",
	When: router.All(
		router.Method(http.MethodGet, http.MethodHead),
		router.Path("/widgets/checkout/info"),
		router.Any(
			router.All(router.Not(router.Cookie("sw-cache-hash")), router.Not(router.Header("Sw-Cache-Hash"))),
			router.Cookie("sw-states", "logged-in"), // and no more
		),
	),
	To: noContent{},
}

// noContent answers 204.
type noContent struct{}

func (noContent) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusNoContent)
}

// Wraps returns nothing: it reaches no backend.
func (noContent) Wraps() []http.Handler { return nil }

// onOrigin reports whether some paths are the origin's alone.
func (c *config) onOrigin() bool { return c.origin != "" && (len(c.admin) > 0 || c.shop != "") }

// adminPaths matches what is admin's.
func (c *config) adminPaths() *router.AdminMatcher { return presets[c.shop].admin(c.admin...) }

// checkShop checks what a shop needs.
func (f *flags) checkShop() {
	c := &f.c
	p, ok := presets[c.shop]
	switch {
	case !ok:
		f.check("shop", c.shop, errors.New("want magento, shopware, wordpress or oxid"))
	case c.shop == "magento" && c.origin != "" && len(c.admin) == 0:
		f.check("shop", c.shop, errors.New("it needs -admin /NAME with the path of its admin pages, which bin/magento info:adminuri tells"))
	case c.shop != "" && (p.rules == nil || c.cacheSize == 0) && c.origin == "":
		f.check("shop", c.shop, errors.New("it needs -origin URL, the server that alone may answer its admin pages"))
	case p.purges && c.cacheSize > 0 && len(c.purgeFrom) == 0:
		f.check("shop", c.shop, errors.New("it needs -purge-from CIDR, the servers that send its purges, since its pages live until then, or -cache 0"))
	}
}
