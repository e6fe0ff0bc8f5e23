// Package shop knows how shops want to be cached: what Magento 2, Shopware 6 and
// WordPress put into the key, what they keep for one visitor, by which cookies and
// fields they say so, and how they purge. What it knows is what their own
// configurations for Varnish do, but for what would let one visitor's page, or one
// of another group of customers, come to others.
//
//	pages, err := cache.New(cache.Options{Rules: shop.Magento()})
//	if err != nil {
//		return err
//	}
//	purge, err := pages.PurgeHandler(appServers) // reads what the shop sends, by its rules
//
// Pages for groups of customers are stored under the group's key. It comes from a
// cookie, which says what the visitor wants; what the page was made for is said by
// the answer, and where the two differ nothing is stored. No visitor's cookies are
// taken off a request that may need them: a page is everybody's if the shop says
// public, and not for what it was asked with.
//
// It gives no lifetimes: Magento and Shopware state them once they are told that a
// cache stands in front, WordPress states none.
package shop
