package cache

import (
	"net/http"
	"strings"
	"time"

	"github.com/foretier/foretier/internal/fields"
)

// Rules are the operator's word on top of RFC 9111. The functions are pure:
// they look at their arguments only, keep nothing of them, and are called
// concurrently. Nil leaves the decision to the law.
type Rules struct {
	// Plan is asked before the lookup. What it returns, besides Pass, must
	// depend only on what it puts into Key and on scheme, host, path and
	// query: whoever has the same key is served the same response.
	Plan func(*http.Request) Plan
	// PlanByURL declares that Plan returns the same for all GET requests of one
	// scheme, host, path and query that have no cookies but those of
	// [Options.IgnoreCookies]: of those it looks at no other field, at no client
	// and at nothing that changes with time. An edge in front then answers hits
	// without asking it again. One that sorts devices, languages or clients must
	// not be declared so; what it makes of requests with cookies is free.
	PlanByURL bool
	// Retention is asked when a response's header has come. It gets what RFC
	// 9111 says and returns what holds. The request is the one that was sent to
	// the backend.
	Retention func(*http.Request, Head, Retention) Retention
	// Purge is asked by [Cache.PurgeHandler] what a PURGE, BAN or PURGEKEYS names in
	// an application's own way; Hard it leaves to the handler. Nil and no error leave
	// the request to what every purge handler understands; an error is answered with
	// 400 and its words.
	Purge func(*http.Request) ([]Invalidation, error)
	// Version names these rules where responses outlive the process that stored them:
	// what was stored under rules of another name is not used. It is changed with
	// whatever changes keys, or what may be stored, as a release or a hash of the
	// configuration. Empty is a name like others.
	Version string
}

// A Plan says what to do with a request. The zero value looks it up under
// scheme, host, path and query.
type Plan struct {
	// Pass hands the request to the backend untouched, and its response to
	// nobody else.
	Pass bool
	// Key is added to the cache key: the currency, the customer group.
	Key []string
	// Cookies names the cookies on which the response depends, as currency
	// does. Their values are added to the key; every other cookie is taken off
	// a request that is looked up, but the tier's own. What remains is no
	// visitor's: it is stored and waited for like a request without cookies,
	// and Vary: Cookie is met. Nil leaves the cookies alone.
	Cookies []string
	// Shared says that answers are everybody's as a rule, though requests have
	// cookies: they wait for one another's fetch then. What turns out to be one
	// visitor's is fetched again, at once, by each who has waited. What is stored it
	// has no bearing on.
	Shared bool
	// Query is what of the query matters.
	Query Query
	// Classes holds, for fields of the request by their canonical name, the
	// class that stands for the field's value where a response says that it
	// varies on the field: see [Devices]. Nil, or a field that is not in it,
	// means that responses are told apart by the value. The map is not changed
	// and may be shared among requests. The backend gets the field as it came,
	// so it must answer all of one class alike.
	Classes map[string]string
	// Why says in a few words which rule decided; it is shown by Explain, and
	// in Cache-Status when the request passes.
	Why string
}

// Tracking returns the names of the parameters by which advertisers follow
// visitors, for [Query.Drop]. A page does not depend on them.
func Tracking() []string {
	return []string{"utm_*", "gclid", "gbraid", "wbraid", "gad_source", "fbclid", "msclkid", "srsltid", "_ga"}
}

// Analytics returns the names of the cookies by which analytics and advertising
// scripts of the common makers recognise a browser, for
// [Options.IgnoreCookies]. They are read by scripts in the page; a page that
// depends on one must not use this list.
func Analytics() []string {
	return []string{
		"_ga", "_ga_*", "_gid", "_gat", "_gat_*", "_gac_*", "_gcl_*", "__utm*", // Google
		"_fbp", "_fbc", // Meta
		"_uetsid", "_uetvid", "_clck", "_clsk", // Microsoft
		"_pk_id*", "_pk_ses*", "_pk_ref*", // Matomo
		"_hj*", "_ttp", "_pin_unauth", "_scid*", // Hotjar, TikTok, Pinterest, Snap
	}
}

// HasCookie reports whether r carries a cookie of one of the names, for a
// [Rules.Plan] that passes the requests of some visitors; "wordpress_logged_in_*"
// names all that begin so. It goes by the names alone: [http.Request.Cookie]
// does not see a cookie whose value net/http refuses, such as JSON, which the
// shop may accept.
func HasCookie(r *http.Request, list ...string) bool {
	for name := range fields.Cookies(r.Header) {
		if fields.Names(list).Match(name) {
			return true
		}
	}
	return false
}

// Devices returns the class of the visitor's device by User-Agent, "phone" or
// "desktop", for [Plan.Classes]: tablets are phones. It is for pages that come
// with Vary: User-Agent and have one layout for phones and one for the rest. A
// page that shows more of User-Agent than that, or tells browsers apart, must
// not be given it.
func Devices(r *http.Request) map[string]string {
	for _, line := range r.Header["User-Agent"] {
		for _, word := range [...]string{"Mobi", "Android", "iPhone", "iPad"} {
			if strings.Contains(line, word) {
				return phone
			}
		}
	}
	return desktop
}

var (
	phone   = map[string]string{"User-Agent": "phone"}
	desktop = map[string]string{"User-Agent": "desktop"}
)

// A Head is the head of a response.
type Head struct {
	Status int
	Header http.Header // not to be changed
	// Key is the [Plan.Key] under which it would be stored, not to be changed: a
	// response that shows that it belongs to another one must not be.
	Key []string
}

// A Retention says whether a response is stored, for how long, and under which
// tags.
type Retention struct {
	// Store says that the response may be stored. Without any lifetime, one
	// that is neither stated nor heuristic nor given by a rule, it is not
	// stored all the same.
	Store bool
	// Stated says that the response states its lifetime itself. To give one to
	// those that do not:
	//
	//	if v.Store && !v.Stated {
	//		v.Fresh = time.Minute
	//	}
	Stated bool
	// SetsCookie says that Store is false only for Set-Cookie. A rule that knows
	// that no page of the application is one visitor's for that may set Store, and
	// add Set-Cookie to Strip.
	SetsCookie bool
	// Fresh is how long it is fresh from now on, what it has aged on the way
	// subtracted (RFC 9111, section 4.2). Zero is stale at once: it is stored
	// only if it can be validated.
	//
	// What a rule gives here is for answers that succeed. One of status 400 or
	// more that states no lifetime is fresh for ErrorFresh at most.
	Fresh time.Duration
	// ErrorFresh is how long an answer of status 400 or more, such as 404 or
	// 501, is fresh at most if it does not state its lifetime itself: what is
	// missing now may be there soon. It gives no lifetime to one that has none.
	// 10 s unless a rule says otherwise; zero and negative: not at all.
	ErrorFresh time.Duration
	// Grace, ErrorGrace and Keep begin when it is no longer fresh; see
	// [Options]. The law gives zero where must-revalidate, proxy-revalidate,
	// s-maxage or no-cache forbid to serve it stale.
	Grace, ErrorGrace, Keep time.Duration
	// Tags name what the response depends on, for [Invalidation.Tags]: those
	// of the fields Cache-Tag, Surrogate-Key, xkey and X-Magento-Tags, and of
	// [Depends].
	Tags []string
	// Strip names fields that are taken off the response, stored or not: those
	// that hold the tags. Set-Cookie is taken off only where it is stored.
	Strip []string
	// Downstream is the Cache-Control that clients get, stored or not, in place of
	// the response's own, of Expires, Pragma and of targeted fields (RFC 9213), so
	// that neither browsers nor caches in front keep what no purge reaches.
	// Empty leaves them as they are.
	Downstream string
	// Why says in a few words what decided; it is shown in Cache-Status when
	// the response is not stored.
	Why string
}

// rewrite takes off and puts in place what v says, of a response that is stored.
func (v *Retention) rewrite(h http.Header) {
	for _, name := range v.Strip {
		h.Del(name)
	}
	v.control(h)
}

// rewriteOwn does so for a response that is its leader's alone.
func (v *Retention) rewriteOwn(h http.Header) {
	for _, name := range v.Strip {
		if !strings.EqualFold(name, "Set-Cookie") {
			h.Del(name)
		}
	}
	v.control(h)
}

func (v *Retention) control(h http.Header) {
	if v.Downstream != "" {
		fields.CacheControl(h, v.Downstream)
	}
}
