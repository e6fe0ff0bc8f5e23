package router

import (
	"fmt"
	"net/http"
	"regexp/syntax"
	"strings"

	"github.com/go-chi/chi/v5"

	"github.com/foretier/foretier/internal/target"
	"github.com/foretier/foretier/router/internal/proof"
)

// A pattern is one chi pattern, with what can be told of it without asking
// chi.
type pattern struct {
	text    string
	prefix  string // what stands before the first { or *
	literal bool   // prefix is the whole pattern
	rest    bool   // behind prefix stands a lone *
	mux     *chi.Mux
	err     error
}

func compile(text string) (p pattern) {
	p.text, p.prefix = text, text
	if i := strings.IndexAny(text, "{*"); i >= 0 {
		p.prefix = text[:i]
		p.rest = text[i:] == "*"
	} else {
		p.literal = true
	}
	if canonical, ok := target.Resolve(p.prefix); !strings.HasPrefix(text, "/") || !ok || canonical != p.prefix && canonical != p.prefix+"/" {
		p.err = fmt.Errorf("Path(%q) never matches a canonical path", text)
		return p
	}
	defer func() {
		if v := recover(); v != nil { // chi's way of refusing a pattern
			p.err = fmt.Errorf("Path(%q): %v", text, v)
		}
	}()
	p.mux = chi.NewMux()
	p.mux.Method(http.MethodGet, text, http.NotFoundHandler())
	return p
}

func (p *pattern) match(path string) bool {
	switch {
	case p.literal:
		return path == p.text
	case !strings.HasPrefix(path, p.prefix):
		return false
	case p.rest:
		return true
	}
	return p.mux.Match(chi.NewRouteContext(), http.MethodGet, path)
}

// regular reports whether the pattern holds a regular expression.
func (p *pattern) regular() bool {
	return strings.Contains(p.text, ":") && strings.Contains(p.text, "{")
}

// String, Paths and Filled are the pattern to a prover.
func (p *pattern) String() string { return p.text }

// Covers reports whether p matches all that other matches. It may be wrong only by
// saying no.
func (p *pattern) Covers(other proof.Pattern) bool {
	n, ok := other.(*pattern)
	if !ok {
		return p.text == "/*"
	}
	if p.rest && strings.HasPrefix(n.prefix, p.prefix) {
		return true
	}
	return n.literal && p.match(n.text) || p.text == n.text
}

func (p *pattern) Single() bool                        { return p.literal }
func (p *pattern) Paths(word string) []string          { return fill(p.text, word) }
func (p *pattern) Filled(segments, word string) string { return fillWith(p.text, segments, word) }

// paramNames returns the names of the parameters in a pattern, in order; "*" is that
// of a * at the end.
func paramNames(text string) (names []string) {
	for {
		i := strings.IndexAny(text, "{*")
		if i < 0 {
			return names
		}
		if text = text[i:]; text[0] == '*' {
			return append(names, "*")
		}
		end := closing(text)
		name, _, _ := strings.Cut(text[1:end], ":")
		names, text = append(names, name), text[end+1:]
	}
}

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
