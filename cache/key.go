package cache

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/foretier/foretier/internal/fields"
	"github.com/foretier/foretier/internal/target"
	"github.com/foretier/foretier/internal/transit"
)

// appendURL appends what names a response within the cache, besides scheme and
// the parts that a rule adds: the host and the target as they are forwarded.
func appendURL(buf []byte, r *http.Request, query Query) []byte {
	buf = appendHost(buf, r.Host, isHTTPS(r))
	return forwarded(r.URL, query).Append(buf)
}

// forwarded returns the target as the backend gets it with what is fetched.
func forwarded(u *url.URL, query Query) target.Target {
	to := target.Of(u)
	to.Query = query.apply(to.Query)
	to.Mark = to.Query != "" || u.ForceQuery
	return to
}

// appendHost appends the host in lower case, without the port if that is the
// scheme's own. Another port stays, the other scheme's too: the backend sees
// it, and may redirect to it.
func appendHost(buf []byte, host string, https bool) []byte {
	if https {
		host = strings.TrimSuffix(host, ":443")
	} else {
		host = strings.TrimSuffix(host, ":80")
	}
	return appendLower(buf, host)
}

func appendLower(buf []byte, s string) []byte {
	for i := range len(s) {
		c := s[i]
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		buf = append(buf, c)
	}
	return buf
}

// refersTo returns what a reference in a response to r stands for, or nil. No
// escape of it is undone on the way.
func refersTo(r *http.Request, reference string) *url.URL {
	u, err := url.Parse(reference)
	if err != nil {
		return nil
	}
	return target.Preserve(r.URL).ResolveReference(target.Preserve(u))
}

// sameOrigin reports whether u, found in a response to r, is on the origin
// that r asked: a reference without host is.
func sameOrigin(r *http.Request, u *url.URL) bool {
	if u.Host == "" {
		return true
	}
	https := isHTTPS(r)
	return u.Scheme == "" || (u.Scheme == "https") == https &&
		string(appendHost(nil, u.Host, https)) == string(appendHost(nil, r.Host, https))
}

// joinParts makes one string of what a rule adds to the key, such that no two
// lists make the same.
func joinParts(parts []string) string {
	if len(parts) == 0 {
		return ""
	}
	var b strings.Builder
	for _, p := range parts {
		for i := range len(p) {
			if p[i] <= 1 {
				b.WriteByte(1)
			}
			b.WriteByte(p[i])
		}
		b.WriteByte(0)
	}
	return b.String()
}

// cookiePairs returns, for each name of the list, the cookies of that name to
// the byte, doubled ones too. They are what the backend will see: were the key
// made of values as net/http reads them, a value that it refuses, or the second
// of two, would change a page without changing its key.
func cookiePairs(r *http.Request, list []string) []string {
	pairs := make([][]byte, len(list))
	for name, pair := range fields.Cookies(r.Header) {
		if i := slices.Index(list, name); i >= 0 {
			pairs[i] = append(append(pairs[i], pair...), ';') // there may be hundreds of one name
		}
	}
	out := make([]string, len(list))
	for i, p := range pairs {
		out[i] = string(p)
	}
	return out
}

// hasCookie reports whether a request has a cookie that may bear on the
// response.
func hasCookie(h http.Header, ignored func(string) bool) bool {
	for name := range fields.Cookies(h) {
		if !ignored(name) {
			return true
		}
	}
	return false
}

func isHTTPS(r *http.Request) bool { return transit.Scheme(r) == "https" }

// groupTag returns the tag that a group of an origin is (RFC 9875, section 2):
// groups of different origins have nothing to do with each other.
func groupTag(host string, https bool, name string) string {
	scheme := "http://"
	if https {
		scheme = "https://"
	}
	return string(appendHost([]byte(scheme), host, https)) + "/" + name
}

// keyHost returns the host of a request in the form that it has in the key.
func keyHost(r *http.Request) string { return string(appendHost(nil, r.Host, isHTTPS(r))) }
