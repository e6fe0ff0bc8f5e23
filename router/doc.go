// Package router decides which rule takes a request.
//
// Rules stand in the order in which they are asked; the first one whose
// [Matcher] matches takes the request and hands it to its handler. Matchers are
// data, not functions, so a table can be checked when it is built, explained
// for one request ([Router.Explain]), and shown to a person.
//
//	admin := router.Admin("/admin", "/cron.php")
//	front, err := router.New(router.Options{},
//		router.Rule{Name: "admin", When: admin, To: origin},
//		router.Rule{Name: "media", When: router.Path("/media/*"), To: router.Fallback(apps, origin)},
//		router.Rule{Name: "shop", To: apps},
//	)
//
// # Readings
//
// Servers disagree about what a path means. /admin, /%61dmin, //admin,
// /x/../admin, /;/admin and /index.php/admin are one page to some and six to
// others. The router therefore looks at all readings that a server could
// plausibly come to: as sent, percent-decoded up to three times, with and
// without ;parameters, with slashes merged and dot segments resolved, with a
// leading //authority taken off, the path-info behind a *.php segment, and, for
// [Admin], segments without the blanks before them.
//
// Admin matches if any reading does. All other rules are chosen by the
// canonical path: decoded, without parameters, merged and resolved. What the
// client sent goes on unchanged if every reading of it falls under the same
// rule, at most with a byte escaped that no URI may hold; otherwise the canonical
// path goes on, which reads one way only.
// A path without an honest reading (above the root, control bytes,
// backslashes, overlong UTF-8, broken or endless percent-encoding) is answered
// with 400, and so is one whose readings hold more than 64 KiB together: of a path of
// up to 2,000 bytes they never do.
//
// # Other paths, other answers
//
// What stands in a rule's Use may hand on another path ([StripPrefix], [AddPrefix],
// [Rewrite]), which proofs follow, change the header of answers ([NewAnswers]), among it
// the addresses and cookies of backends that call themselves otherwise, and show pages
// of the operator's in place of backends' errors ([NewErrorPages]).
//
// # Who may pass, and how much
//
// A rule's [Limit] counts requests by client, or by what a key, a cookie or a function
// names, at this gateway or for all together. A password ([NewBasic]), somebody else who is
// asked ([NewAsk]) and further limits ([NewLimiter]) stand in Use. Where somebody asks
// first, the paths of a rule had better be an [Admin]'s, which matches every spelling.
//
// It is not a framework for handlers: a chi router fits into a rule, and a
// Router fits into chi.
package router
