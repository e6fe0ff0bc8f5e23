package router_test

import (
	"testing"

	"github.com/foretier/foretier/router"
)

func TestPresets(t *testing.T) {
	for name, c := range map[string]struct {
		m              router.Matcher
		admin, visitor []string
	}{
		"WordPress": {router.WordPress("/phpmyadmin"), []string{"/wp-admin/", "/wp-admin/users.php", "/wp-login.php", "/wp-cron.php?x", "/WP-ADMIN/admin-ajax.php", "/wp-json/wp/v2/media", "/index.php/wp-json/wp/v2/media/7", "/phpmyadmin"}, []string{"/", "/wp-admin/admin-ajax.php?action=x", "/wp-content/a.css", "/wp-json/x", "/wp-json/wp/v2/posts"}},
		"Magento":   {router.Magento("admin_x1", "/de/admin_x1"), []string{"/admin_x1", "/index.php/admin_x1/x", "/de/admin_x1", "/pub/cron.php", "/setup"}, []string{"/", "/admin", "/de", "/rest/V1/carts"}},
		"Shopware":  {router.Shopware(), []string{"/admin", "/api/oauth/token", "/backend/Login"}, []string{"/store-api/product", "/adminer", "/"}},
		"OXID":      {router.OXID(), []string{"/admin/", "/setup/index.php", "/bin/cron.php"}, []string{"/", "/index.php?cl=basket"}},
	} {
		for _, target := range c.admin {
			if !c.m.Match(request("GET", target)) {
				t.Errorf("%s: %s is not admin", name, target)
			}
		}
		for _, target := range c.visitor {
			if c.m.Match(request("GET", target)) {
				t.Errorf("%s: %s is admin", name, target)
			}
		}
		if _, err := router.New(router.Options{}, router.Rule{Name: "a", When: c.m, To: say("x")}, router.Rule{Name: "b", To: say("x")}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
