package router

import (
	"regexp/syntax"
	"slices"
	"strings"

	"github.com/foretier/foretier/internal/target"
)

// A pathClass is a path that stands for those that no matcher tells from it.
type pathClass struct {
	raw string
	rd  target.Readings
}

func newPathClass(raw string) *pathClass { return &pathClass{raw, target.Read(raw)} }

// pathClasses returns representatives of what the matchers, and base paths
// before a path, tell apart.
func (d *space) pathClasses(bases []string) (out []*pathClass) {
	prefixes := slices.Clone(d.prefixes)
	slices.Sort(prefixes)
	prefixes = slices.Compact(prefixes)
	byName := func(a, b pathPattern) int { return strings.Compare(a.String(), b.String()) }
	patterns := slices.SortedFunc(slices.Values(d.patterns), byName)
	patterns = slices.CompactFunc(patterns, func(a, b pathPattern) bool { return byName(a, b) == 0 })

	seen := make(map[string]bool)
	add := func(raw string) {
		if !seen[raw] {
			seen[raw] = true
			out = append(out, newPathClass(raw))
		}
	}
	add("/")
	add("/" + d.word)
	for _, p := range prefixes {
		for _, form := range adminForms(p, d.word) {
			add(form)
		}
		for _, base := range bases {
			// What a base path completes to the prefix.
			if rest, ok := strings.CutPrefix(p, strings.TrimSuffix(base, "/")); ok {
				add("/" + strings.TrimPrefix(rest, "/"))
			}
		}
	}
	for _, pattern := range patterns {
		for _, path := range pattern.Paths(d.word) {
			add(path)
			for _, p := range prefixes {
				add(p + "/.." + path) // read unresolved it is admin
			}
		}
		for _, p := range prefixes {
			// Parameters that take the prefix's own segments.
			add(pattern.Filled(strings.Trim(p, "/"), d.word))
		}
	}
	return slices.DeleteFunc(out, func(c *pathClass) bool { return c.rd.Refusal != "" })
}

// adminForms are the forms of a prefix that readings tell apart.
func adminForms(p, word string) []string {
	segments := strings.Count(p, "/")
	return []string{
		p,
		p + "/" + word,
		strings.ToUpper(p),
		"/%" + hex(p[1]) + p[2:],
		"/" + p,
		"/%20" + p[1:],
		p + ";x",
		p + ".x",
		"/" + word + "/.." + p,
		"/index.php" + p,
		"//" + word + p,
		p + strings.Repeat("/..", segments) + "/" + word,
	}
}

func hex(c byte) string {
	const digits = "0123456789ABCDEF"
	return string([]byte{digits[c>>4], digits[c&15]})
}

// String, Paths and Filled are the pattern to a prover.
func (p *pattern) String() string { return p.text }

func (p *pattern) Paths(word string) []string { return fill(p.text, word) }

func (p *pattern) Filled(segments, word string) string { return fillWith(p.text, segments, word) }

// An exception is a path of [AdminMatcher.Except], to a prover.
type exception string

func (e exception) String() string { return "except " + string(e) }

func (e exception) Paths(word string) []string {
	below := strings.TrimSuffix(string(e), "/*") + "/" + word
	return append(fill(string(e), word), below)
}

func (e exception) Filled(segments, word string) string { return fillWith(string(e), segments, word) }

func (e exception) Covers(pathPattern) bool { return false }

// fill returns paths that a chi pattern matches.
func fill(text, word string) []string {
	out := []string{fillWith(text, "", word)}
	if dir, ok := strings.CutSuffix(text, "*"); ok {
		for _, path := range fillAll(dir, word) {
			out = append(out, path+word+"/"+word)
		}
	}
	return append(out, fillAll(text, word)...)
}

// fillAll fills the parameters of text in, once for each kind of example.
func fillAll(text, word string) []string {
	a, b := fillWith(text, word, word), fillWith(text, "q", word)
	if a == b {
		return []string{a}
	}
	return []string{a, b}
}

// fillWith replaces parameters without a regular expression and a last * by s,
// and those with one by what it matches. A parameter is never empty: word stands
// in it then.
func fillWith(text, s, word string) string {
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
				b.WriteString(word)
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
