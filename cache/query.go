package cache

import (
	"net/url"
	"slices"
	"strings"

	"github.com/foretier/foretier/cache/internal/law"
	"github.com/foretier/foretier/internal/fields"
	"github.com/foretier/foretier/internal/target"
)

// A Query says which parameters have no bearing on the response. The zero
// value keeps the query to the byte.
//
// What is dropped does not reach the backend with a request whose response may
// be stored: what is not in the key must not be in the page.
type Query struct {
	// Drop names parameters, whole and after decoding; "utm_*" names all that
	// begin with utm_. See [Tracking].
	Drop []string
	// Sort puts the parameters in order of their names, those of one name as
	// they came, so that a=1&b=2 and b=2&a=1 are one response.
	Sort bool

	modulo *law.Search // what a response has said of it, where that is gone by
}

// apply returns the query without what has no bearing. What stays keeps its
// bytes.
func (q Query) apply(raw string) string { return q.modulo.Normal(q.plain(raw)) }

// plain returns it without what has none by the rule.
func (q Query) plain(raw string) string {
	if raw == "" || len(q.Drop) == 0 && !q.Sort {
		return raw
	}
	if !q.Sort && !q.dropsAny(raw) {
		return raw
	}
	type parameter struct{ name, text string }
	var kept []parameter
	for text := range strings.SplitSeq(raw, "&") {
		if q.drops(text) {
			continue
		}
		name := ""
		if q.Sort {
			name = parameterName(text)
		}
		kept = append(kept, parameter{name, text})
	}
	if q.Sort {
		slices.SortStableFunc(kept, func(a, b parameter) int { return strings.Compare(a.name, b.name) })
	}
	var b strings.Builder
	b.Grow(len(raw))
	for i, p := range kept {
		if i > 0 {
			b.WriteByte('&')
		}
		b.WriteString(p.text)
	}
	return b.String()
}

// dropsAny reports whether one of the parameters of a query is dropped.
func (q Query) dropsAny(raw string) bool {
	for raw != "" {
		text := raw
		if i := strings.IndexByte(raw, '&'); i >= 0 {
			text, raw = raw[:i], raw[i+1:]
		} else {
			raw = ""
		}
		if q.drops(text) {
			return true
		}
	}
	return false
}

// drops reports whether a parameter is dropped. Few names begin as one that is:
// the others are not decoded, of which a hostile query has thousands.
func (q Query) drops(text string) bool {
	if text == "" || !fields.Names(q.Drop).MayBegin(firstByte(text)) {
		return false
	}
	name := parameterName(text)
	return name != "" && fields.Names(q.Drop).Match(name)
}

// firstByte returns the first byte of an encoded name.
func firstByte(text string) byte {
	switch {
	case text[0] == '+':
		return ' '
	case target.IsEscape(text):
		return target.Unescape(text[1], text[2])
	}
	return text[0]
}

// parameterName returns the name of a parameter, decoded if it can be.
func parameterName(text string) string {
	name, _, _ := strings.Cut(text, "=")
	if strings.IndexByte(name, '%') >= 0 || strings.IndexByte(name, '+') >= 0 {
		if decoded, err := url.QueryUnescape(name); err == nil {
			return decoded
		}
	}
	return name
}
