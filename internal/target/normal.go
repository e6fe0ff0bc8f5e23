package target

import (
	"bytes"
	"strings"
)

// plain marks the bytes for which an escape is another spelling: those that RFC
// 3986, section 2.3, leaves unreserved, and those that RFC 2396 did too, which
// is why one library's encoder writes an apostrophe or a parenthesis raw and
// another's does not.
var plain = marks("-._~!*'()0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")

// normalPath and normalQuery mark the bytes that stand raw in a normal form.
var (
	normalPath  = marks("/" + pchar)
	normalQuery = marks("/?" + pchar)
)

// Normal returns the one form of all spellings of a target, or of a path (RFC
// 3986, section 6.2.2): escapes in capitals and only where they are needed, what
// must not stand raw escaped, dot segments resolved. A reserved byte and its
// escape stay apart, since they may mean different things, as slashes do.
func Normal(target string) string {
	path, query, mark := strings.Cut(target, "?")
	normal := removeDots(spell(path, &normalPath))
	if !mark {
		return normal
	}
	q := spell(query, &normalQuery)
	if len(normal) == len(path) && normal == path && q == query {
		return target
	}
	return normal + "?" + q
}

// spell returns s with every byte in its normal form. What is in it already
// costs nothing.
func spell(s string, raw *[256]bool) string {
	normal := true
	for i := 0; i < len(s) && normal; i++ {
		c := s[i]
		if c == '%' {
			normal = IsEscape(s[i:]) && s[i+1] < 'a' && s[i+2] < 'a' && !plain[Unescape(s[i+1], s[i+2])]
			i += 2
			continue
		}
		normal = raw[c]
	}
	if normal {
		return s
	}
	b := make([]byte, 0, len(s)+16)
	for i := 0; i < len(s); i++ {
		if !IsEscape(s[i:]) {
			b = appendByte(b, s[i], raw[s[i]])
			continue
		}
		c := Unescape(s[i+1], s[i+2])
		b = appendByte(b, c, plain[c])
		i += 2
	}
	return string(b)
}

// removeDots resolves dot segments (RFC 3986, section 5.2.4). Those that lead
// above the root are dropped; empty segments stay.
func removeDots(path string) string {
	if !strings.Contains(path, "/.") {
		return path
	}
	out := make([]byte, 0, len(path))
	for rest := path; rest != ""; {
		segment := rest // with the slash before it
		if end := strings.IndexByte(rest[1:], '/'); end >= 0 {
			segment = rest[:end+1]
		}
		rest = rest[len(segment):]
		switch segment {
		case "/..":
			out = out[:max(0, bytes.LastIndexByte(out, '/'))]
			fallthrough
		case "/.":
			if rest == "" {
				out = append(out, '/')
			}
		default:
			out = append(out, segment...)
		}
	}
	return string(out)
}
