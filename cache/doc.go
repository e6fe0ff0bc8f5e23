// Package cache is a shared HTTP cache in front of any http.Handler: RFC 9111
// with what makes Varnish pleasant. Stale responses are served while one
// request refreshes them, requests for the same missing response wait for one
// fetch, a backend that fails is covered by what is stored, and a purge beats
// a fetch that is still running.
//
//	pages, err := cache.New(cache.Options{MaxBytes: 256 << 20})
//	if err != nil {
//		return err
//	}
//	front := pages.Handler(apps) // apps: any http.Handler
//
// It is not a private cache, not a CDN and not a store for application data.
// It never repeats a failed request: that is the pool's business. Nothing that
// sets a cookie, or was asked for with a cookie or with Authorization, is
// shared unless the response says public or s-maxage, or a rule says so.
//
// What fills the cache is asked for in the form of the key: with its host, its
// content codings and languages, by GET, and without a visitor's conditions and
// orders. Only an answer to that changes what is stored, so that what one visitor
// sends is not what the next one sees. How fresh an answer must be is said by the
// backend and by rules; what visitors say of it in Cache-Control counts for those
// in [Options.Orders] only.
//
// Variants (Vary) are told apart by what the request has in the fields that are
// named. Of Accept-Encoding only the codings matter: what is stored serves all
// that accept it. User-Agent goes by its value; for pages that differ between
// phones and the rest only, see [Devices]. A page that varies on what the tier
// itself writes, such as X-Forwarded-For, is not stored.
//
// URLs that differ in what a response says to be of no matter, by No-Vary-Search
// (draft-ietf-httpbis-no-vary-search), are one: from the second of them on they are
// looked up, and asked for, without that, and in order if order does not matter. A
// response answers for others only by its own word, and not for what may be one
// visitor's, nor where rules of a router read the query; a purge by any of its URLs means
// it. They are answered by the chain, not by an edge from the head. See
// [Options.IgnoreNoVarySearch].
//
// Text is compressed once it is stored, if [Options.Compress] says by what, and sent in the
// coding that a client wants most. To the key and the backend that means nothing: there
// is one stored response. What is not stored, or not yet compressed, middleware in front
// of the cache may compress, such as package router/compress, which lets an edge answer
// from heads all the same.
//
// Several gateways keep together by [Options.Feed], a log of invalidations such as
// package redistier has on Redis: what is purged at one is purged at all, and a fetch
// that was running anywhere is overtaken. Who is cut off from it serves what it holds
// as stale, and no GET fails for that. By [Options.Store] they have a second level in
// common: what one has fetched the others need not, and one that starts is not cold.
//
// [Cache.Save] and [Cache.Load] carry what is asked for most over a restart. What was
// purged meanwhile is known from the feed; without one, what is restored is served as
// stale at first. [Warm] fills a new tier from a list of URLs.
//
// What is in doubt goes straight through: upgrades, methods other than GET and
// HEAD, requests with a body.
package cache
