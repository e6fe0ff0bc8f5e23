package law

import (
	"net/http"
	"time"

	"github.com/foretier/foretier/internal/fields"
)

// A Request is what of a request bears on storing the response to it.
type Request struct {
	Method        string
	Range         bool // asks for one range, so that a part may be stored
	Trusted       bool // its client brings nothing about to do harm
	SameLocation  bool // Content-Location of the response is the URL of the request
	NoStore       bool // Cache-Control: no-store
	Authorization bool
	Cookie        bool // cookies that may bear on the response
	Lifetime      bool // the operator gives the status of the response one, if it states none
}

// A Response is the head of a response and when it was asked for and came.
type Response struct {
	Status     int
	Header     http.Header
	Asked, Now time.Time
	// Cache is this cache, which targeted fields and Surrogate-Control may address.
	Cache Addressee
}

// A Judgement is what the law says of storing and reusing a response.
type Judgement struct {
	Store  bool          // it may be stored
	Why    string        // what decided
	Stated bool          // it states its lifetime itself
	Fresh  time.Duration // what is left of its lifetime; may be zero
	Age    time.Duration // its age on arrival
	// Validate says that it must not be reused without validation, fresh or
	// not: no-cache.
	Validate bool
	// NoStale says that it must not be served stale: must-revalidate,
	// proxy-revalidate, s-maxage, no-cache (RFC 9111, section 4.2.4).
	NoStale bool
	// Public says that it may be reused for those who authenticate: public,
	// s-maxage, must-revalidate (RFC 9111, section 3.5).
	Public bool
	// Immutable says that a client's reload need not validate while it is
	// fresh (RFC 8246).
	Immutable bool
	// Private names fields that are for the one who asked only: private="a",
	// no-cache="b" (RFC 9111, sections 5.2.2.4 and 5.2.2.7).
	Private []string
	// While and IfError are stale-while-revalidate and stale-if-error (RFC
	// 5861); negative if not stated.
	While, IfError time.Duration
}

// ErrorLifetime bounds how long an error is stored. An error may be the fault
// of the one request that was let through to ask (CPDoS), and should not
// outlive its cause by much.
const ErrorLifetime = 10 * time.Second

// Judge applies RFC 9111, section 3, as a shared cache.
func Judge(req Request, res Response) Judgement {
	var room [8]Directive // few have more
	cc, targeted := control(res, room[:0])
	j := Judgement{Age: InitialAge(res.Header, res.Asked, res.Now), While: -1, IfError: -1}

	lifetime, stated := Lifetime(res.Header, cc, res.Now)
	if targeted {
		// A targeted field overrides Expires too (RFC 9213, section 2.2).
		lifetime, stated = Lifetime(nil, cc, res.Now)
	}
	j.Stated = stated
	public := cc.Has("public")
	if !stated && !req.Cookie && (public || heuristicallyCacheable(res.Status)) {
		lifetime = Heuristic(res.Header, res.Now)
	}
	if isError(res.Status) {
		lifetime = min(lifetime, j.Age+ErrorLifetime)
	}
	j.Validate = cc.Bare("no-cache")
	if !j.Validate {
		j.Fresh = max(0, lifetime-j.Age)
	}
	j.NoStale = j.Validate || cc.Has("must-revalidate") || cc.Has("proxy-revalidate") || cc.Has("s-maxage")
	j.Public = forAll(cc)
	j.Immutable = j.Fresh > 0 && cc.Has("immutable")
	j.Private = append(cc.Fields("private"), cc.Fields("no-cache")...)
	if d, ok := cc.Seconds("stale-while-revalidate"); ok {
		j.While = d
	}
	if d, ok := cc.Seconds("stale-if-error"); ok {
		j.IfError = d
	}
	j.Store, j.Why = storable(req, res, cc, stated)
	return j
}

// storable walks the list of RFC 9111, section 3, and reads as one.
func storable(req Request, res Response, cc Directives, stated bool) (ok bool, why string) {
	understood := understands(res.Status)
	switch {
	case req.Method == http.MethodPost && !(stated && req.SameLocation):
		return false, "method POST" // RFC 9110, section 9.3.3
	case req.Method != http.MethodGet && req.Method != http.MethodPost:
		return false, "method " + req.Method
	case res.Status < 200:
		return false, "interim response"
	case res.Status == http.StatusNotModified:
		return false, "not modified" // updates what is stored, see Update
	case res.Status == http.StatusPartialContent && !req.Range:
		return false, "a part" // section 3.3
	case OfRequest(res.Status, res.Header):
		return false, "speaks of one request's fields"
	case Provoked(res.Status) && !req.Trusted:
		return false, "anybody can bring it about"
	case cc.Has("must-understand") && !understood:
		return false, "must-understand"
	case cc.Has("no-store") && !(cc.Has("must-understand") && understood):
		return false, "no-store"
	case cc.Bare("private"):
		return false, "private"
	case req.NoStore:
		return false, "no-store in the request"
	case len(res.Header["Set-Cookie"]) > 0:
		// The RFC leaves that to the origin, which then forgets (section 7.3).
		return false, "sets a cookie"
	case fields.HasToken(res.Header["Vary"], "*"):
		return false, "varies on anything" // section 4.1
	case variesByClient(res.Header["Vary"]):
		return false, "varies by client"
	case (req.Authorization || req.Cookie) && res.Status >= 400:
		return false, "error for a visitor's request" // public may be said of every answer
	case req.Authorization && !forAll(cc):
		return false, "request with Authorization" // section 3.5
	case req.Cookie && !(cc.Has("public") || cc.Has("s-maxage")):
		return false, "request with a cookie"
	case req.Cookie && fields.HasToken(res.Header["Vary"], "Cookie"):
		// Cookies are as many as visitors: nobody else would be served.
		return false, "varies by cookie"
	case !stated && !cc.Has("public") && !req.Lifetime && !heuristicallyCacheable(res.Status):
		return false, "status without a lifetime"
	}
	return true, ""
}

// forAll reports whether a response to a request with Authorization may be
// shared (RFC 9111, section 3.5).
func forAll(cc Directives) bool {
	return cc.Has("public") || cc.Has("s-maxage") || cc.Has("must-revalidate")
}

// heuristicallyCacheable lists the status codes that RFC 9110, section 15.1,
// defines so.
func heuristicallyCacheable(status int) bool {
	switch status {
	case 200, 203, 204, 206, 300, 301, 308, 404, 405, 410, 414, 501:
		return true
	}
	return false
}

// OfRequest reports whether a status speaks of the fields of the one request
// that it answers, such as a range, a condition or an expectation, or of how
// much one client asks, and not of the resource. Such an answer is nobody
// else's, however long it says that it lives: its fields are neither in the key
// nor, as a rule, in Vary.
func OfRequest(status int, h http.Header) bool {
	switch status {
	case http.StatusNotAcceptable:
		return len(h["Vary"]) == 0
	case http.StatusUnauthorized,
		http.StatusIMUsed, // RFC 3229: a difference to what A-IM and If-None-Match name
		http.StatusProxyAuthRequired, http.StatusRequestTimeout, http.StatusLengthRequired,
		http.StatusPreconditionFailed, http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType,
		http.StatusRequestedRangeNotSatisfiable, http.StatusExpectationFailed, http.StatusMisdirectedRequest,
		http.StatusTooEarly, http.StatusUpgradeRequired, http.StatusPreconditionRequired,
		http.StatusTooManyRequests, http.StatusRequestHeaderFieldsTooLarge:
		return true
	}
	return false
}

// Provoked reports whether a status may well speak of who asks, from where, and by
// which fields, so that whoever wants to can bring it about for a good page
// (CPDoS): by a field that is too long or odd for a server, or a Referer that it
// does not like.
func Provoked(status int) bool {
	switch status {
	case http.StatusBadRequest, http.StatusForbidden, http.StatusUnavailableForLegalReasons:
		return true
	}
	return false
}

// understands reports whether this cache knows what caching a status code
// means (RFC 9111, section 5.2.2.3).
func understands(status int) bool {
	return http.StatusText(status) != ""
}

func isError(status int) bool {
	switch status {
	case 404, 405, 410: // answers about the resource
		return false
	}
	return status >= 400
}

// variesByClient reports whether a Vary field names what a proxy says of the
// one client that it asks for. The request that a variant would be matched with
// does not have it yet, and no two clients would share one.
func variesByClient(lines []string) bool {
	for _, name := range [...]string{"X-Forwarded-For", "Forwarded", "X-Request-Id", "Traceparent", "Tracestate", "Via"} {
		if len(lines) > 0 && fields.HasToken(lines, name) {
			return true
		}
	}
	return false
}
