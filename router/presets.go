package router

// WordPress matches the admin pages of a WordPress at the root, its login, its cron and
// its editor's uploads, but not what its pages ask for on behalf of visitors. Further
// prefixes may be given.
//
// With plain permalinks the editor uploads by /?rest_route=/wp/v2/media, which has no
// path of its own: have it at the origin too by a rule with [Method] and [Query], or
// set other permalinks.
func WordPress(more ...string) *AdminMatcher {
	return Admin(append([]string{"/wp-admin", "/wp-login.php", "/wp-cron.php", "/xmlrpc.php", "/wp-json/wp/v2/media"}, more...)...).
		Except("/wp-admin/admin-ajax.php", "/wp-admin/admin-post.php")
}

// Magento matches the admin pages of a Magento 2 whose backend front name is
// frontName ("admin_1x2y3z", without slashes), its setup and its cron. Store
// codes that stand in the path must be given as further prefixes:
// "/de/admin_1x2y3z".
func Magento(frontName string, more ...string) *AdminMatcher {
	return Admin(append([]string{"/" + frontName, "/setup", "/update", "/cron.php", "/pub/cron.php"}, more...)...)
}

// Shopware matches the administration, the admin API and the installers of
// Shopware 5 and 6. The store API is the visitors'. Further prefixes may be
// given.
func Shopware(more ...string) *AdminMatcher {
	return Admin(append([]string{"/admin", "/api", "/backend", "/recovery"}, more...)...)
}

// OXID matches the admin pages, the setup and the cron of an OXID eShop at the
// root. Further prefixes may be given.
func OXID(more ...string) *AdminMatcher {
	return Admin(append([]string{"/admin", "/setup", "/bin"}, more...)...)
}
