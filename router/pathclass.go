package router

import (
	"regexp/syntax"
	"slices"
	"strings"
)

// A pathClass is a path that stands for those that no matcher tells from it.
type pathClass struct {
	raw string
	rd  readings
}

func newPathClass(raw string) *pathClass { return &pathClass{raw, read(raw)} }

// anySegment is a segment that no rule names.
const anySegment = "zz"

// pathClasses returns representatives of what the matchers, and base paths
// before a path, tell apart.
func pathClasses(ms []Matcher, bases []string) (out []*pathClass) {
	var paths, prefixes []string
	var collect func(m Matcher)
	collect = func(m Matcher) {
		switch m := m.(type) {
		case *pathMatcher:
			for _, p := range m.patterns {
				paths = append(paths, p.text)
			}
		case *AdminMatcher:
			prefixes = append(prefixes, m.prefixes...)
			for _, e := range m.except {
				paths = append(paths, e, strings.TrimSuffix(e, "/*")+"/"+anySegment)
			}
		case allMatcher:
			for _, part := range m {
				collect(part)
			}
		case anyMatcher:
			for _, part := range m {
				collect(part)
			}
		case notMatcher:
			collect(m.m)
		}
	}
	for _, m := range ms {
		collect(m)
	}
	for _, list := range []*[]string{&paths, &prefixes} {
		slices.Sort(*list)
		*list = slices.Compact(*list)
	}

	seen := make(map[string]bool)
	add := func(raw string) {
		if !seen[raw] {
			seen[raw] = true
			out = append(out, newPathClass(raw))
		}
	}
	add("/")
	add("/" + anySegment)
	for _, p := range prefixes {
		for _, form := range adminForms(p) {
			add(form)
		}
		for _, base := range bases {
			// What a base path completes to the prefix.
			if rest, ok := strings.CutPrefix(p, strings.TrimSuffix(base, "/")); ok {
				add("/" + strings.TrimPrefix(rest, "/"))
			}
		}
	}
	for _, text := range paths {
		for _, path := range fill(text) {
			add(path)
			for _, p := range prefixes {
				add(p + "/.." + path) // read unresolved it is admin
			}
		}
		for _, p := range prefixes {
			// Parameters that take the prefix's own segments.
			add(fillWith(text, strings.Trim(p, "/")))
		}
	}
	return slices.DeleteFunc(out, func(c *pathClass) bool { return c.rd.Refusal != "" })
}

// adminForms are the forms of a prefix that readings tell apart.
func adminForms(p string) []string {
	segments := strings.Count(p, "/")
	return []string{
		p,
		p + "/" + anySegment,
		strings.ToUpper(p),
		"/%" + hex(p[1]) + p[2:],
		"/" + p,
		"/%20" + p[1:],
		p + ";x",
		p + ".x",
		"/" + anySegment + "/.." + p,
		"/index.php" + p,
		"//" + anySegment + p,
		p + strings.Repeat("/..", segments) + "/" + anySegment,
	}
}

func hex(c byte) string {
	const digits = "0123456789ABCDEF"
	return string([]byte{digits[c>>4], digits[c&15]})
}

// fill returns paths that a chi pattern matches.
func fill(text string) []string {
	out := []string{fillWith(text, "")}
	if dir, ok := strings.CutSuffix(text, "*"); ok {
		for _, path := range fillAll(dir) {
			out = append(out, path+anySegment+"/"+anySegment)
		}
	}
	return append(out, fillAll(text)...)
}

// fillAll fills the parameters of text in, once for each kind of example.
func fillAll(text string) []string {
	a, b := fillWith(text, anySegment), fillWith(text, "q")
	if a == b {
		return []string{a}
	}
	return []string{a, b}
}

// fillWith replaces parameters without a regular expression and a last * by s,
// and those with one by what it matches.
func fillWith(text, s string) string {
	var b strings.Builder
	for text != "" {
		switch text[0] {
		case '*':
			b.WriteString(s)
			text = text[1:]
		case '{':
			end := closing(text)
			_, expr, regular := strings.Cut(text[1:end], ":")
			switch {
			case regular:
				b.WriteString(example(expr))
			case s == "":
				b.WriteString(anySegment)
			default:
				b.WriteString(s)
			}
			text = text[end+1:]
		default:
			b.WriteByte(text[0])
			text = text[1:]
		}
	}
	return b.String()
}

// closing returns the index of the brace that closes the first one. Patterns
// have been compiled, so there is one.
func closing(text string) int {
	depth := 0
	for i := range len(text) {
		switch text[i] {
		case '{':
			depth++
		case '}':
			if depth--; depth == 0 {
				return i
			}
		}
	}
	return len(text) - 1
}

// regular reports whether the pattern holds a regular expression.
func (p *pattern) regular() bool {
	return strings.Contains(p.text, ":") && strings.Contains(p.text, "{")
}

// example returns a short string that expr matches, "" if it cannot tell.
func example(expr string) string {
	re, err := syntax.Parse(expr, syntax.Perl)
	if err != nil {
		return ""
	}
	var b strings.Builder
	writeExample(&b, re.Simplify())
	return b.String()
}

func writeExample(b *strings.Builder, re *syntax.Regexp) {
	switch re.Op {
	case syntax.OpLiteral:
		b.WriteString(string(re.Rune))
	case syntax.OpCharClass:
		if len(re.Rune) > 0 {
			b.WriteRune(re.Rune[0])
		}
	case syntax.OpAnyChar, syntax.OpAnyCharNotNL:
		b.WriteByte('z')
	case syntax.OpAlternate, syntax.OpCapture, syntax.OpPlus:
		writeExample(b, re.Sub[0])
	case syntax.OpRepeat:
		for range re.Min {
			writeExample(b, re.Sub[0])
		}
	case syntax.OpConcat:
		for _, sub := range re.Sub {
			writeExample(b, sub)
		}
	}
}
