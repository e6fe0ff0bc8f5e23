package law

import (
	"math"
	"net/textproto"
	"slices"
	"strings"
	"time"

	"github.com/foretier/foretier/internal/fields"
)

// Directives is a parsed Cache-Control field (RFC 9111, section 5.2).
type Directives []Directive

// A Directive is one member: its name in lower case, and its argument with the
// quotes taken off.
type Directive struct {
	Name, Value string
}

// ParseDirectives parses the lines of a Cache-Control field. A member that does
// not follow the grammar is left out, as is whatever an unclosed quote swallows.
func ParseDirectives(lines []string) Directives { return Directives(nil).parse(lines) }

// parse appends the directives of the lines of a Cache-Control field to out.
func (out Directives) parse(lines []string) Directives {
	for _, line := range lines {
		for line != "" {
			var member string
			member, line = fields.CutMember(line)
			if d, ok := parseDirective(member); ok {
				out = append(out, d)
			}
		}
	}
	return out
}

// NoStore reports whether a request's Cache-Control has the directive no-store
// (RFC 9111, section 5.2.1.5).
func NoStore(lines []string) bool {
	for _, line := range lines {
		for line != "" {
			var member string
			member, line = fields.CutMember(line)
			if member = textproto.TrimString(member); fields.EqualFold(member, "no-store") {
				return true
			}
		}
	}
	return false
}

func parseDirective(member string) (Directive, bool) {
	member = textproto.TrimString(member)
	name, value, _ := strings.Cut(member, "=")
	if !fields.Token(name) {
		return Directive{}, false
	}
	if strings.HasPrefix(value, `"`) {
		var ok bool
		if value, ok = unquote(value); !ok {
			return Directive{}, false
		}
	}
	return Directive{strings.ToLower(name), value}, true
}

// unquote returns the content of a quoted string (RFC 9110, section 5.6.4).
func unquote(s string) (string, bool) {
	if len(s) < 2 || s[0] != '"' || s[len(s)-1] != '"' {
		return "", false
	}
	s = s[1 : len(s)-1]
	if !strings.ContainsAny(s, `"\`) {
		return s, true
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '"':
			return "", false
		case '\\':
			if i++; i == len(s) {
				return "", false
			}
		}
		b.WriteByte(s[i])
	}
	return b.String(), true
}

// Has reports whether the directive is there, with or without an argument.
func (d Directives) Has(name string) bool {
	return slices.ContainsFunc(d, func(x Directive) bool { return x.Name == name })
}

// Bare reports whether the directive is there without naming fields: no-cache
// and private mean the whole response then (RFC 9111, sections 5.2.2.4 and
// 5.2.2.7).
func (d Directives) Bare(name string) bool {
	return slices.ContainsFunc(d, func(x Directive) bool { return x.Name == name && x.Value == "" })
}

// Fields returns the fields that the directive names: no-cache="a, b".
func (d Directives) Fields(name string) []string {
	var out []string
	for _, x := range d {
		if x.Name != name {
			continue
		}
		for field := range fields.Members([]string{x.Value}) {
			out = append(out, textproto.CanonicalMIMEHeaderKey(field))
		}
	}
	return out
}

// Seconds returns the argument of the directive's first occurrence. One that
// is no number of seconds is zero: a response with invalid freshness
// information is best taken to be stale (RFC 9111, section 4.2.1).
func (d Directives) Seconds(name string) (age time.Duration, ok bool) {
	for _, x := range d {
		if x.Name == name {
			age, _ = fields.DeltaSeconds(x.Value)
			return age, true
		}
	}
	return 0, false
}

// forever is where delta-seconds overflow (RFC 9111, section 1.2.2).
const forever = math.MaxInt32 * time.Second
