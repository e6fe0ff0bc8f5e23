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

// A names is a list of names, of which those that end in * stand for all that
// begin so.
type names []string

func (n names) match(name string) bool {
	for _, pattern := range n {
		last := len(pattern) - 1
		if last > 0 && (name == "" || name[0] != pattern[0]) {
			continue // most of them, and a hostile request has thousands
		}
		if pattern == name || last >= 0 && pattern[last] == '*' && strings.HasPrefix(name, pattern[:last]) {
			return true
		}
	}
	return false
}

// mayBegin reports whether one of the patterns may match a name that begins with
// first.
func (n names) mayBegin(first byte) bool {
	for _, pattern := range n {
		if pattern != "" && (pattern[0] == first || pattern == "*") {
			return true
		}
	}
	return false
}

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
	return target.Keep(r.URL).ResolveReference(target.Keep(u))
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

// apply returns the query without what has no bearing. What stays keeps its
// bytes.
func (q Query) apply(raw string) string {
	if raw == "" || len(q.Drop) == 0 && !q.Sort {
		return raw
	}
	type parameter struct{ name, text string }
	var kept []parameter
	if !q.Sort && !q.dropsAny(raw) {
		return raw
	}
	dropped := false
	for text := range strings.SplitSeq(raw, "&") {
		if q.drops(text) {
			dropped = true
			continue
		}
		name := ""
		if q.Sort {
			name = parameterName(text)
		}
		kept = append(kept, parameter{name, text})
	}
	if !dropped && !q.Sort {
		return raw
	}
	if q.Sort {
		slices.SortStableFunc(kept, func(a, b parameter) int { return strings.Compare(a.name, b.name) })
	}
	var b strings.Builder
	b.Grow(len(raw))
	for i, p := range kept {
		if i > 0 {
			b.WriteByte('&')
		}
		b.WriteString(p.text)
	}
	return b.String()
}

// dropsAny reports whether one of the parameters of a query is dropped.
func (q Query) dropsAny(raw string) bool {
	for raw != "" {
		text := raw
		if i := strings.IndexByte(raw, '&'); i >= 0 {
			text, raw = raw[:i], raw[i+1:]
		} else {
			raw = ""
		}
		if q.drops(text) {
			return true
		}
	}
	return false
}

// drops reports whether a parameter is dropped. Few names begin as one that is:
// the others are not decoded, of which a hostile query has thousands.
func (q Query) drops(text string) bool {
	if text == "" || !names(q.Drop).mayBegin(firstByte(text)) {
		return false
	}
	name := parameterName(text)
	return name != "" && names(q.Drop).match(name)
}

// firstByte returns the first byte of an encoded name.
func firstByte(text string) byte {
	switch {
	case text[0] == '+':
		return ' '
	case target.IsEscape(text):
		return target.Unescape(text[1], text[2])
	}
	return text[0]
}

// parameterName returns the name of a parameter, decoded if it can be.
func parameterName(text string) string {
	name, _, _ := strings.Cut(text, "=")
	if strings.IndexByte(name, '%') >= 0 || strings.IndexByte(name, '+') >= 0 {
		if decoded, err := url.QueryUnescape(name); err == nil {
			return decoded
		}
	}
	return name
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
