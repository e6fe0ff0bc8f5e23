package logline

import (
	"strconv"
	"unicode"
	"unicode/utf8"
)

// What a byte asks for.
const (
	quotes uint8 = 1 << iota // in text: quotes
	escape                   // within quotes: a backslash
	odd                      // a closer look: no printable ASCII
)

var asks = func() (t [256]uint8) {
	for c := range t {
		switch {
		case c < ' ' || c > '~':
			t[c] = odd
		case c == ' ' || c == '=':
			t[c] = quotes
		case c == '"':
			t[c] = quotes | escape
		case c == '\\':
			t[c] = escape
		}
	}
	return t
}()

// all returns what the bytes of s ask for together. It looks at eight at a time, since
// all that a line has goes by here.
func all(s string) (bits uint8) {
	const n = 8
	if len(s) < n {
		for i := range len(s) {
			bits |= asks[s[i]]
		}
		return bits
	}
	var quoted, other uint64
	for i := 0; ; i += n {
		i = min(i, len(s)-n) // the last ones overlap
		w := eight(s[i : i+n])
		quoted |= zero(w^(' '*ones)) | zero(w^('='*ones))
		other |= zero(w^('"'*ones)) | zero(w^('\\'*ones)) | zero(w^(0x7f*ones)) | (w - ' '*ones) | w
		if i == len(s)-n {
			break
		}
	}
	if other&(0x80*ones) != 0 {
		for i := range len(s) {
			bits |= asks[s[i]]
		}
		return bits
	}
	if quoted != 0 {
		bits = quotes
	}
	return bits
}

// IsClean reports whether s is printable ASCII without quotes and backslashes.
func IsClean(s string) bool { return all(s)&(escape|odd) == 0 }

const ones = 0x0101010101010101

// zero has a bit if a byte of w is zero.
func zero(w uint64) uint64 { return (w - ones) & ^w & (0x80 * ones) }

func eight(s string) uint64 {
	return uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 |
		uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
}

// appendText appends s as slog's TextHandler does: in Go's quotes if it needs some.
func appendText(b []byte, s string) []byte {
	switch bits := all(s); {
	case s != "" && bits&(quotes|odd) == 0:
		return append(b, s...)
	case s != "" && bits == quotes:
		return append(append(append(b, '"'), s...), '"')
	case isPlain(s):
		return append(b, s...)
	}
	return strconv.AppendQuote(b, s)
}

// isPlain reports whether s needs no quotes in text.
func isPlain(s string) bool {
	for _, c := range s {
		switch {
		case c == utf8.RuneError: // be it written out
			return false
		case c <= 0x7f:
			if bits := asks[c]; bits&quotes != 0 || bits&odd != 0 && c != 0x7f { // slog takes DEL for plain
				return false
			}
		case unicode.IsSpace(c) || !unicode.IsPrint(c):
			return false
		}
	}
	return s != ""
}

// appendJSON appends s as slog's JSONHandler does: what is no UTF-8 is replaced, and
// what JavaScript takes for the end of a line is escaped (RFC 8259, section 7).
func appendJSON(b []byte, s string) []byte {
	b = append(b, '"')
	if IsClean(s) {
		return append(append(b, s...), '"')
	}
	const digits = "0123456789abcdef"
	for i, c := range s {
		switch {
		case c == '"' || c == '\\':
			b = append(b, '\\', byte(c))
		case c == '\n':
			b = append(b, `\n`...)
		case c == '\r':
			b = append(b, `\r`...)
		case c == '\t':
			b = append(b, `\t`...)
		case c < ' ':
			b = append(b, '\\', 'u', '0', '0', digits[c>>4], digits[c&15])
		case c == '\u2028' || c == '\u2029':
			b = append(b, '\\', 'u', '2', '0', '2', digits[c&15])
		case c == utf8.RuneError && (len(s)-i < 3 || s[i:i+3] != "\ufffd"):
			b = append(b, `\ufffd`...)
		default:
			b = utf8.AppendRune(b, c)
		}
	}
	return append(b, '"')
}
