package session

import (
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/foretier/foretier/internal/fields"
)

// crossSitePost reports whether r changes something and comes from another
// site's page: a return from a payment page, for example. Browsers send no Lax
// cookie with it, so that its lack proves nothing about the visitor, and a
// cookie set in the answer would overwrite the one they have (RFC 6265bis,
// sections 5.2 and 5.7). Of a SameSite=None cookie nothing of that is true.
//
// domain is what the cookie is set for, or "" for the host alone.
func crossSitePost(r *http.Request, domain string) bool {
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
	// An opaque origin ("null") is that of a redirected or sandboxed form.
	u, err := url.Parse(origin)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Hostname() == "" {
		return true
	}
	// A page cannot make a browser send X-Forwarded-Host to another site: a
	// front sets it that has put another Host in place of the client's.
	hosts := append(fields.List(r.Header["X-Forwarded-Host"]), r.Host)
	origin, domain = fields.Hostname(u.Host), fields.Hostname(strings.TrimPrefix(domain, "."))
	return !slices.ContainsFunc(hosts, func(host string) bool { return sameSite(origin, fields.Hostname(host), domain) })
}

// sameSite reports whether two hosts are of one site, as far as can be told
// without the list of public suffixes: they are the same, or one is below the
// other, or both are below domain. Ports are no part of a site.
func sameSite(a, b, domain string) bool {
	return below(a, b) || below(b, a) || domain != "" && below(a, domain) && below(b, domain)
}

// below reports whether a host is domain or below it.
func below(host, domain string) bool {
	if at := len(host) - len(domain); at > 0 && domain != "" {
		return host[at-1] == '.' && host[at:] == domain && net.ParseIP(host) == nil
	}
	return host == domain
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
