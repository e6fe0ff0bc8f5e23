package session

import (
	"log/slog"
	"net/http"
	"time"
)

// Options for [New]. The zero value is valid: sessions end after 30 minutes
// without a request, after 12 hours in any case, and their cookie is
// "__Host-sid; Path=/; Secure; HttpOnly; SameSite=Lax". [ShopOptions] and [AdminOptions]
// return other sets of limits.
type Options struct {
	// Name is the cookie's name without its prefix; empty means "sid". The
	// prefix is "__Host-", or "__Secure-" with a Domain.
	Name string
	// Header is the field in which clients without cookies send their session, such as
	// "X-Session", instead of the cookie; empty means the cookie. What they are to send is
	// in the answer's field of that name whenever it is new, and empty once the session
	// is destroyed. With "Authorization" it is "Bearer " and the rest, both ways. Other
	// sites' pages can send no such field (unless CORS lets them), so that their POSTs
	// are like all others. Persistent and AllowInsecure say nothing then, Domain and
	// SameSite are refused: TLS is the caller's to see to.
	//
	// Below a shared cache choose Authorization: caches keep what was asked for with it
	// apart. A second manager with the same store and Name, and no Header, has the same
	// sessions for browsers.
	Header string
	// Domain lets the hosts below it share the session; empty means this host
	// alone, which no other host can then overwrite.
	Domain string
	// SameSite of the cookie; zero means Lax. A return from a payment page is
	// a cross-site POST, which carries neither a Lax nor a Strict cookie; such
	// a POST can then begin no session (see [ErrReadOnly]). A login from
	// another site's page, or from an app whose pages have an origin of their
	// own, such as capacitor://localhost, needs [http.SameSiteNoneMode], and
	// its own protection against cross-site request forgery.
	SameSite http.SameSite
	// Idle ends a session that was not used for so long; zero means 30
	// minutes. Use is noted at most once in a tenth of it, so the end may come
	// up to that much early. The least is 1 minute.
	Idle time.Duration
	// Lifetime ends a session at this age, used or not; zero means 12 hours, or
	// Idle if that is more.
	Lifetime time.Duration
	// Remember is how long a session lives for which [Session.Remember] was called,
	// used or not; zero means 30 days, or Lifetime if that is more.
	Remember time.Duration
	// Persistent lets the cookie outlive the browser's window, by Max-Age.
	Persistent bool
	// Listed keeps a list of each subject's sessions, for [Manager.Sessions] and
	// [Manager.End]: two calls to the store more at a login or renewal, and none else.
	Listed bool
	// AllowInsecure serves sessions to clients on plain HTTP: their cookie has
	// neither prefix nor Secure, and is not read on HTTPS. Without it such
	// clients are sent the Secure cookie, which most will not return. It is
	// meant for tests and for machines that are reached over loopback only.
	AllowInsecure bool
	// Timeout bounds each call to the store; zero means 1 second.
	Timeout time.Duration
	// Degrade says whether r should be served with an empty session that
	// cannot be changed when the store is out; nil means no: whoever uses the
	// session is then answered 503. The cookie stays as it is.
	Degrade func(r *http.Request) bool
	// Logger gets what no client is told, of a request only where nobody above
	// logs it; nil means [slog.Default].
	Logger *slog.Logger
}

// ShopOptions returns Options for a shop's visitors: a cart lives 24 hours from its
// last use, 30 days at most, and outlives the browser's window.
func ShopOptions() Options {
	return Options{Idle: 24 * time.Hour, Lifetime: 30 * 24 * time.Hour, Persistent: true}
}

// AdminOptions returns Options for those who administer: 15 minutes from the last
// use, 8 hours at most.
func AdminOptions() Options {
	return Options{Idle: 15 * time.Minute, Lifetime: 8 * time.Hour}
}
