package fields

import "golang.org/x/net/http/httpguts"

// Token reports whether s is a token (RFC 9110, section 5.6.2), as methods and
// names of fields are.
func Token(s string) bool { return httpguts.ValidHeaderFieldName(s) }

// Value reports whether s may be a field's value (RFC 9110, section 5.5): no
// controls but the tab. Bytes beyond ASCII pass, as of old.
func Value(s string) bool { return httpguts.ValidHeaderFieldValue(s) }

// HostBytes reports whether s has only bytes of a host and port (RFC 3986,
// section 3.2.2), so that it can be sent as one field; whether they make up a
// host is another question.
func HostBytes(s string) bool { return httpguts.ValidHostHeader(s) }

// EqualFold reports whether a and b are the same but for the case of ASCII
// letters, as tokens are compared. [strings.EqualFold] takes U+212A for a k too,
// and U+017F for an s.
func EqualFold(a, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range len(a) {
		if lower(a[i]) != lower(b[i]) {
			return false
		}
	}
	return true
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		c += 'a' - 'A'
	}
	return c
}
