// Package esi composes pages of fragments that are stored, validated and purged each
// on its own (Edge Side Includes): a shop's page for an hour, the menu in it for a
// day, the cart in it never.
//
//	processor, err := esi.New(esi.Options{})
//	if err != nil {
//		return err
//	}
//	front := processor.Handler(pages.Handler(apps)) // pages: a cache
//
// It stands above the cache, which so holds templates and fragments and no composed
// page. Backends are told of it by Surrogate-Capability, and ask for it answer by
// answer with Surrogate-Control: content="ESI/1.0" (Edge Architecture Specification,
// W3C Note, 2001), which is taken off. All else goes through as it is.
//
// Of the ESI Language Specification 1.0 it does what Varnish and the shops do:
//
//	<esi:include src="/menu" alt="/menu.html" onerror="continue"/>
//	<esi:remove>for those who do no ESI</esi:remove>
//	<esi:comment text="..."/>
//	<!--esi <p>for those who do</p> -->
//
// Other elements stay in the page, as does what is malformed; comments and CDATA
// sections are not looked into. Nothing is evaluated: there are no variables and no
// conditions. An application that takes HTML from visitors must take esi: elements out
// of it as it does with scripts: what they include is in the page as if it were its own.
//
// # Fragments
//
// A fragment is asked for by GET on the visitor's behalf, with the header of the page's
// request but for what speaks of that request alone, such as conditions, ranges, a body
// and codings. It goes through all that the visitor's own request for it would:
// from the handler that edge serves, or else the first router, down. So a rule that
// keeps a path from a visitor keeps it from the visitor's pages, wherever this package
// is mounted, and its Limit counts fragments as it counts requests. Without either it
// goes to the handler that is wrapped.
//
// It is on the page's own host, whatever scheme and port the reference has, since it is
// asked for where the page was: Magento writes http:// into pages of https. Others are
// for [Options.Hosts], and get neither cookies nor Authorization. What a fragment sets as
// cookies is dropped. Its own ESI is done if its own Surrogate-Control asks for that.
//
// Fragments are fetched side by side and sent in their order, each as soon as it is its
// turn. One is included if its status is 2xx and it has no content coding. Else alt is
// tried; if that fails too, nothing stands in its place where onerror is "continue",
// and where it is not, in HTML, a comment that says so. The rest of the page follows. The
// line of the page in the log has the cause. A fragment that breaks off when some of
// it has been sent cuts off the page, as any answer is that breaks off.
//
// # What is told of a composed page
//
// It is as private as the least public of its fragments, which is not known yet when its
// header goes out. So it is private to its visitor and to be validated (Cache-Control:
// private, no-cache, or no-store if the template says so), and no other field says
// anything of lifetimes; what a failed fragment has left is kept by nobody. It has no ETag,
// Last-Modified, Age, Content-Length or digest, which are the template's, and no ranges: a
// conditional request is answered 200. HEAD is told the same, and fetches no fragments.
//
// What carries a content coding cannot be composed, nor can a part of a page, and one
// cannot tell from a request whether its answer will be. So a GET or HEAD goes down as it
// is; if its answer then is to be composed and cannot be, it is asked for again, without
// codings, ranges and conditions, as its like is from then on. Images, downloads and
// ranges keep what they asked for. Other methods, which cannot be repeated, are always
// asked for without codings. A compressor is mounted around this handler.
package esi
