package law

import (
	"strconv"
	"strings"
)

// A Span is a part of a body: Length bytes from First on, of Total.
type Span struct{ First, Length, Total int64 }

// ParseContentRange parses the Content-Range of a response that has one part,
// of known size (RFC 9110, section 14.4).
func ParseContentRange(lines []string) (s Span, ok bool) {
	line, ok := single(lines)
	if !ok {
		return s, false
	}
	line, ok = strings.CutPrefix(line, "bytes ")
	span, total, ok2 := strings.Cut(line, "/")
	first, last, ok3 := strings.Cut(span, "-")
	f, l, t := position(first), position(last), position(total)
	if !ok || !ok2 || !ok3 || f < 0 || l < f || t <= l {
		return s, false
	}
	return Span{f, l - f + 1, t}, true
}

// OneRange reports whether Range asks for one range of bytes, in a form that
// [Span.Within] understands (RFC 9110, section 14.1.2).
func OneRange(lines []string) bool {
	_, ok := Span{Total: 1 << 62}.resolve(lines)
	return ok
}

// Within returns the part that Range asks for, if all of it is in s.
func (s Span) Within(lines []string) (part Span, ok bool) {
	part, ok = s.resolve(lines)
	return part, ok && part.First >= s.First && part.First+part.Length <= s.First+s.Length
}

// resolve returns the part of the whole that Range asks for.
func (s Span) resolve(lines []string) (part Span, ok bool) {
	line, ok := single(lines)
	if !ok {
		return part, false
	}
	line, ok = strings.CutPrefix(line, "bytes=")
	first, last, ok2 := strings.Cut(line, "-")
	if !ok || !ok2 {
		return part, false
	}
	f, l := position(first), position(last)
	switch {
	case first == "" && l > 0: // the last l bytes
		f, l = max(0, s.Total-l), s.Total-1
	case f >= 0 && last == "":
		l = s.Total - 1
	case f >= 0 && l >= f:
		l = min(l, s.Total-1)
	default:
		return part, false
	}
	if f >= s.Total {
		return part, false
	}
	return Span{f, l - f + 1, s.Total}, true
}

// position parses a position, or returns -1.
func position(s string) int64 {
	if s == "" || s[0] < '0' || s[0] > '9' {
		return -1
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n >= 1<<62 {
		return -1
	}
	return n
}
