package target

import (
	"iter"
	"strings"
)

// Parameters yields the parameters of a query, decoded (WHATWG URL, section 5.1).
func Parameters(query string) iter.Seq2[string, string] {
	return func(yield func(name, value string) bool) {
		for text := range strings.SplitSeq(query, "&") {
			if text == "" {
				continue
			}
			name, value, _ := strings.Cut(text, "=")
			if !yield(DecodeForm(name), DecodeForm(value)) {
				return
			}
		}
	}
}

// DecodeForm decodes a name or a value of a form: a percent sign that begins no escape
// is one. What it makes need not be UTF-8.
func DecodeForm(s string) string {
	if strings.IndexByte(s, '%') < 0 && strings.IndexByte(s, '+') < 0 {
		return s
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '+':
			b = append(b, ' ')
		case IsEscape(s[i:]):
			b = append(b, Unescape(s[i+1], s[i+2]))
			i += 2
		default:
			b = append(b, s[i])
		}
	}
	return string(b)
}
