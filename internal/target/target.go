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
	path, isLegal := asSent(u)
	if !isLegal {
		path = Escape(path)
	}
	if path == "" {
		path = "/" // RFC 9110, section 4.2.3
	}
	return Target{path, u.RawQuery, u.ForceQuery || u.RawQuery != ""}
}

// Sent returns u's path to the byte: as the client sent it, or as it was
// rewritten since.
func Sent(u *url.URL) string {
	path, _ := asSent(u)
	return path
}

// asSent returns u's path to the byte, and whether it holds nothing that no path
// may hold. A path is asked that by every stage, and may be 8,000 bytes that
// must be escaped: what edge has kept, as nearly all is, costs one pass.
func asSent(u *url.URL) (path string, isLegal bool) {
	if u.RawPath != "" {
		if ok, isLegal := spells(u.RawPath, u.Path); ok {
			return u.RawPath, isLegal
		}
	} else if Plain(u.Path) {
		return u.Path, true
	}
	return u.EscapedPath(), false
}

// Plain reports whether [url.URL.EscapedPath] leaves path as it is, so that it is
// its own decoded form.
func Plain(path string) bool { return illegal(path, &itself) < 0 }

// itself marks the bytes that [url.URL.EscapedPath] leaves as they are.
var itself = marks("-_.~$&+,/:;=@0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")

// spells reports whether raw is path with some of its bytes escaped, and whether
// the others are such as a path may hold.
func spells(raw, path string) (ok, isLegal bool) {
	if len(raw) == len(path) { // as net/url leaves no plain one, but others do
		return raw == path && strings.IndexByte(raw, '%') < 0, illegal(raw, &legal) < 0
	}
	isLegal = true
	i := 0
	for n := range len(path) {
		if i >= len(raw) {
			return false, false
		}
		c := raw[i]
		i++
		if c != '%' {
			isLegal = isLegal && legal[c]
		} else if i+2 > len(raw) {
			return false, false
		} else {
			high, low := digit[raw[i]], digit[raw[i+1]]
			if high|low > 15 {
				return false, false
			}
			c = high<<4 | low
			i += 2
		}
		if c != path[n] {
			return false, false
		}
	}
	return i == len(raw), isLegal
}

// IsEscaped reports whether escaped is what [Escape] makes of path.
func IsEscaped(path, escaped string) bool {
	for i := range len(path) {
		c := path[i]
		if legal[c] && (c != '%' || IsEscape(path[i:])) {
			if escaped == "" || escaped[0] != c {
				return false
			}
			escaped = escaped[1:]
			continue
		}
		if len(escaped) < 3 || escaped[0] != '%' || escaped[1] != digits[c>>4] || escaped[2] != digits[c&15] {
			return false
		}
		escaped = escaped[3:]
	}
	return escaped == ""
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

// Preserve returns u, or a copy of it whose EscapedPath is the path of the same
// target: of a path with bytes that no URL may hold net/url would else make another.
// It is for handlers that know nothing of this package.
func Preserve(u *url.URL) *url.URL {
	if u.RawPath == "" {
		return u
	}
	if ok, isLegal := spells(u.RawPath, u.Path); !ok || isLegal {
		return u
	}
	c := *u
	c.RawPath = Escape(u.RawPath)
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
	room := len(s)
	for i := range len(s) {
		if !legal[s[i]] || s[i] == '%' {
			room += 2
		}
	}
	var b strings.Builder
	b.Grow(room)
	for i := range len(s) {
		if c := s[i]; legal[c] && (c != '%' || IsEscape(s[i:])) {
			b.WriteByte(c)
		} else {
			b.Write([]byte{'%', digits[c>>4], digits[c&15]})
		}
	}
	return b.String()
}

// digits are those that escapes are written with.
const digits = "0123456789ABCDEF"

// appendByte appends c, or its escape.
func appendByte(b []byte, c byte, raw bool) []byte {
	if raw {
		return append(b, c)
	}
	return append(b, '%', digits[c>>4], digits[c&15])
}

// IsEscape reports whether s begins with a percent-escape.
func IsEscape(s string) bool {
	return len(s) >= 3 && s[0] == '%' && digit[s[1]]|digit[s[2]] <= 15
}

// Unescape returns the byte that an escape with these two digits stands for.
func Unescape(high, low byte) byte { return digit[high]<<4 | digit[low] }

// digit holds the values of hexadecimal digits, and more than 15 for what is
// none.
var digit = func() (t [256]byte) {
	for i := range t {
		t[i] = 0xff
	}
	for i, c := range []byte("0123456789abcdef") {
		t[c] = byte(i)
	}
	for i, c := range []byte(digits) {
		t[c] = byte(i)
	}
	return t
}()

// unescape decodes the percent-escapes of s once. What is no escape stays;
// broken reports that there was such.
func unescape(s string) (out string, decoded, broken bool) {
	percent := strings.IndexByte(s, '%')
	if percent < 0 {
		return s, false, false
	}
	b := append(make([]byte, 0, len(s)), s[:percent]...)
	for i := percent; i < len(s); i++ {
		switch c := s[i]; {
		case c != '%':
			b = append(b, c)
		case IsEscape(s[i:]):
			decoded = true
			b = append(b, Unescape(s[i+1], s[i+2]))
			i += 2
		default:
			broken = true
			b = append(b, c)
		}
	}
	return string(b), decoded, broken
}
