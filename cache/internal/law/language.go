package law

import (
	"cmp"
	"net/textproto"
	"slices"
	"strconv"
	"strings"
)

// maxLanguages is how many members of Accept-Language are put in order. A list
// of more is compared as it came.
const maxLanguages = 32

// Languages is a request's Accept-Language, read once. Preference is said by
// quality values, not by order (RFC 9110, section 12.5.4), and neither case nor
// white space matter.
type Languages struct {
	key  string // what is compared
	best string // the one language that is liked best; empty if there is none
	// Text is the field as a backend is sent it with a request whose response
	// may be stored: one text for all that are compared as equal. Empty if it
	// goes as it came.
	Text string
}

// ReadLanguages reads Accept-Language.
func ReadLanguages(lines []string) *Languages {
	count := 0
	for _, line := range lines {
		count += 1 + strings.Count(line, ",")
	}
	if count > maxLanguages {
		return &Languages{key: string(appendMembers(nil, lines))}
	}
	list := make([]language, 0, count)
	broken := false
	for _, line := range lines {
		for member := range strings.SplitSeq(line, ",") {
			member = strings.ToLower(strings.ReplaceAll(strings.ReplaceAll(member, " ", ""), "\t", ""))
			if member != "" {
				l, ok := readLanguage(member)
				broken = broken || !ok
				list = append(list, l)
			}
		}
	}
	slices.SortFunc(list, func(a, b language) int {
		return cmp.Or(cmp.Compare(b.quality, a.quality), strings.Compare(a.text, b.text))
	})
	list = slices.CompactFunc(list, func(a, b language) bool { return a.text == b.text })
	out := new(Languages)
	if n := len(list); n > 0 && !broken && list[0].quality > 0 && (n == 1 || list[1].quality < list[0].quality) {
		out.best = list[0].tag
	}
	var key, text strings.Builder
	for i, l := range list {
		if i > 0 {
			key.WriteByte(',')
			text.WriteByte(',')
		}
		key.WriteString(l.text)
		text.WriteString(tagCase(l.tag))
		text.WriteString(l.text[len(l.tag):])
	}
	out.key, out.Text = key.String(), text.String()
	return out
}

// A language is a member of Accept-Language.
type language struct {
	tag, text string
	quality   float64
}

// readLanguage reads a member that is in lower case and without white space, and
// reports whether its quality is one.
func readLanguage(member string) (language, bool) {
	tag, params, _ := strings.Cut(member, ";")
	value, ok := strings.CutPrefix(params, "q=")
	if !ok {
		return language{tag, member, 1}, true
	}
	q, err := strconv.ParseFloat(value, 64)
	switch {
	case err != nil || !(q >= 0 && q <= 1):
		return language{tag, member, 0}, false
	case q == 1:
		return language{tag, tag, 1}, true
	}
	return language{tag, member, q}, true
}

// tagCase writes a language tag, which is in lower case, as servers expect it:
// de-DE, zh-Hant-TW (RFC 5646, section 2.1.1).
func tagCase(tag string) string {
	first, rest, more := strings.Cut(tag, "-")
	if !more {
		return tag
	}
	var b strings.Builder
	b.WriteString(first)
	for part := range strings.SplitSeq(rest, "-") {
		b.WriteByte('-')
		switch len(part) {
		case 2:
			part = strings.ToUpper(part)
		case 4:
			part = strings.ToUpper(part[:1]) + part[1:]
		}
		b.WriteString(textproto.TrimString(part))
	}
	return b.String()
}
