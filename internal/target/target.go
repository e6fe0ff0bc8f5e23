// Package target holds what a request's target says, to the byte, and the ways
// in which servers read it.
//
// A [url.URL] keeps a target as it was sent, but its methods do not give it
// back: EscapedPath decodes and encodes anew whatever holds a byte that it would
// have escaped, and so makes /a/b%7Bc%7D of /a%2Fb{c}, another resource (RFC
// 3986, section 2.2). What a backend gets, what a cache keys, what a purge names,
// where a redirect leads and what the rules judge all go by [Of] instead.
package target

import (
	"net/url"
	"strings"
)

// A Target is the path and query that are sent on, to the byte.
type Target struct {
	// Path begins with a slash, or is "*". It is as sent, but for bytes that no
	// path may hold, such as { or é: each of those is escaped, alone.
	Path string
	// Query is as sent, without its question mark.
	Query string
	// Mark says that there is a question mark, with a query behind it or not.
	Mark bool
}

// Of returns the target that u stands for. A RawPath that no longer spells Path,
// because somebody has rewritten that alone, does not count.
func Of(u *url.URL) Target {
	path := Escape(Sent(u))
	if path == "" {
		path = "/" // RFC 9110, section 4.2.3
	}
	return Target{path, u.RawQuery, u.ForceQuery || u.RawQuery != ""}
}

// Sent returns u's path to the byte: as the client sent it, or as it was
// rewritten since.
func Sent(u *url.URL) string {
	if u.RawPath != "" && spells(u.RawPath, u.Path) {
		return u.RawPath
	}
	return u.EscapedPath()
}

// spells reports whether raw is path with some of its bytes escaped.
func spells(raw, path string) bool {
	n := 0
	for i := 0; i < len(raw); i++ {
		c := raw[i]
		if c == '%' {
			if !IsEscape(raw[i:]) {
				return false
			}
			c = unhex(raw[i+1])<<4 | unhex(raw[i+2])
			i += 2
		}
		if n == len(path) || path[n] != c {
			return false
		}
		n++
	}
	return n == len(path)
}

// Append appends the target as it stands in a request line.
func (t Target) Append(b []byte) []byte {
	b = append(b, t.Path...)
	if t.Mark {
		b = append(append(b, '?'), t.Query...)
	}
	return b
}

// String returns the target as it stands in a request line.
func (t Target) String() string {
	if !t.Mark {
		return t.Path
	}
	return t.Path + "?" + t.Query
}

// Set makes u stand for t, and for u's own methods too, so that whoever asks
// those, as net/http's transports do, sends the same.
func (t Target) Set(u *url.URL) {
	u.Path, _, _ = unescape(t.Path)
	if u.RawPath = ""; u.EscapedPath() != t.Path {
		u.RawPath = t.Path
	}
	u.RawQuery, u.ForceQuery = t.Query, t.Mark && t.Query == ""
}

// Keep returns u, or a copy of it that stands for the same target, whose
// EscapedPath tells that. It is for handlers that know nothing of this package.
func Keep(u *url.URL) *url.URL {
	if u.RawPath == "" || !spells(u.RawPath, u.Path) {
		return u
	}
	path := Escape(u.RawPath)
	if path == u.RawPath {
		return u
	}
	c := *u
	c.RawPath = path
	return &c
}

// legal marks the bytes that stand in a path for themselves. Brackets should not
// (RFC 3986, section 3.3); they are sent all the same, and every server takes
// them, so they stay as they are.
var legal = marks("/%[]" + pchar)

// pchar are the bytes of RFC 3986, section 3.3, but the percent sign.
const pchar = "-._~!$&'()*+,;=:@0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"

func marks(s string) (t [256]bool) {
	for _, c := range []byte(s) {
		t[c] = true
	}
	return t
}

// Escape escapes in path what no path may hold raw, and nothing else. What is an
// escape already stays one; a percent sign that begins none is escaped.
func Escape(path string) string { return escape(path, &legal) }

// EscapeAll writes as a path what is decoded already: a percent sign is no
// escape.
func EscapeAll(decoded string) string {
	return escape(strings.ReplaceAll(decoded, "%", "%25"), &legal)
}

// Segment writes as one segment of a path what is decoded already.
func Segment(decoded string) string {
	return strings.ReplaceAll(EscapeAll(decoded), "/", "%2F")
}

// Location returns the target as a reference for a Location field: a query's
// bytes that no URI may hold are escaped too, each alone.
func (t Target) Location() string {
	t.Query = EscapeQuery(t.Query)
	return t.String()
}

// queryLegal marks the bytes that stand in a query for themselves.
var queryLegal = marks("?/%[]" + pchar)

// EscapeQuery is Escape for a query. A percent sign that begins no escape stays:
// servers take it for itself.
func EscapeQuery(query string) string {
	if i := illegal(query, &queryLegal); i < 0 {
		return query
	}
	b := make([]byte, 0, len(query)+16)
	for i := range len(query) {
		b = appendByte(b, query[i], queryLegal[query[i]])
	}
	return string(b)
}

func illegal(s string, legal *[256]bool) int {
	for i := range len(s) {
		if !legal[s[i]] {
			return i
		}
	}
	return -1
}

func escape(s string, legal *[256]bool) string {
	clean := true
	for i := 0; i < len(s) && clean; i++ {
		clean = legal[s[i]] && (s[i] != '%' || IsEscape(s[i:]))
	}
	if clean {
		return s
	}
	b := make([]byte, 0, len(s)+16)
	for i := range len(s) {
		b = appendByte(b, s[i], legal[s[i]] && (s[i] != '%' || IsEscape(s[i:])))
	}
	return string(b)
}

// appendByte appends c, or its escape.
func appendByte(b []byte, c byte, raw bool) []byte {
	const digits = "0123456789ABCDEF"
	if raw {
		return append(b, c)
	}
	return append(b, '%', digits[c>>4], digits[c&15])
}

// IsEscape reports whether s begins with a percent-escape.
func IsEscape(s string) bool {
	return len(s) >= 3 && s[0] == '%' && hex[s[1]] && hex[s[2]]
}

var hex = marks("0123456789abcdefABCDEF")

// unhex returns the value of a hexadecimal digit.
func unhex(c byte) byte {
	switch {
	case c <= '9':
		return c - '0'
	case c <= 'F':
		return c - 'A' + 10
	}
	return c - 'a' + 10
}

// unescape decodes the percent-escapes of s once. What is no escape stays;
// broken reports that there was such.
func unescape(s string) (out string, decoded, broken bool) {
	percent := strings.IndexByte(s, '%')
	if percent < 0 {
		return s, false, false
	}
	b := make([]byte, 0, len(s))
	for percent >= 0 {
		b = append(b, s[:percent]...)
		if s = s[percent:]; IsEscape(s) {
			decoded = true
			b = append(b, unhex(s[1])<<4|unhex(s[2]))
			s = s[3:]
		} else {
			broken = true
			b = append(b, '%')
			s = s[1:]
		}
		percent = strings.IndexByte(s, '%')
	}
	return string(append(b, s...)), decoded, broken
}
