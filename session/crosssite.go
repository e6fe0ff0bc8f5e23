package session

import (
	"net/http"
	"net/url"
	"strings"
)

// crossSitePost reports whether r changes something and comes from another
// site's page: a return from a payment page, for example. Browsers send no Lax
// cookie with it, so that its lack proves nothing about the visitor, and a
// cookie set in the answer would overwrite the one they have (RFC 6265bis,
// sections 5.2 and 5.7).
func crossSitePost(r *http.Request) bool {
	if !unsafeMethod(r.Method) {
		return false
	}
	if site := r.Header.Get("Sec-Fetch-Site"); site != "" {
		return site == "cross-site"
	}
	origin := r.Header.Get("Origin")
	if origin == "" {
		return false // no browser: nothing of theirs can be overwritten
	}
	u, err := url.Parse(origin)
	// An opaque origin ("null") is that of a redirected or sandboxed form.
	return err != nil || !strings.EqualFold(u.Host, r.Host)
}

// unsafeMethod reports whether a method may change something (RFC 9110,
// section 9.2.1).
func unsafeMethod(method string) bool {
	switch method {
	case "", http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace:
		return false
	}
	return true
}
