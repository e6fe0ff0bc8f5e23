package law

import (
	"net/http"
	"net/textproto"
	"slices"
	"strconv"
	"strings"

	"github.com/foretier/foretier/internal/fields"
)

// Selecting returns the fields that a response's Vary names, canonical, sorted,
// each once, separated by commas (RFC 9110, section 12.5.5). A response in a
// content coding depends on Accept-Encoding even if it forgets to say so: who
// cannot undo the coding has no use for it.
func Selecting(response http.Header) string {
	if response["Vary"] == nil && response["Content-Encoding"] == nil {
		return ""
	}
	var names []string
	for _, name := range fields.List(response["Vary"]) {
		names = append(names, textproto.CanonicalMIMEHeaderKey(name))
	}
	if response["Content-Encoding"] != nil {
		names = append(names, "Accept-Encoding")
	}
	slices.Sort(names)
	return strings.Join(slices.Compact(names), ",")
}

// AppendVariant appends to buf the normalised values that a request has in the
// selecting fields (RFC 9111, section 4.1), each with a mark behind it.
func AppendVariant(buf []byte, selecting string, h http.Header) []byte {
	for name := range strings.SplitSeq(selecting, ",") {
		buf = appendField(buf, name, h[name])
	}
	return buf
}

// What stands behind a field's value, and what stands for a field that is not
// there. Neither can be part of a value.
const (
	endOfField = 1
	noField    = 0
)

func appendField(buf []byte, name string, lines []string) []byte {
	if len(lines) == 0 {
		return append(buf, noField, endOfField)
	}
	switch name {
	case "Accept-Language", "Accept-Encoding":
		buf = appendSorted(buf, lines)
	case "User-Agent":
		buf = append(buf, device(lines)...)
	default:
		buf = appendMembers(buf, lines)
	}
	return append(buf, endOfField)
}

// SameVariant reports whether a request selects the variant that was stored
// (RFC 9111, section 4.1): its fields are the same after normalisation, or the
// stored response is in the one language that the request likes best, which
// language returns from Content-Language.
func SameVariant(selecting, variant string, h http.Header, language func() string) bool {
	var array [96]byte
	for name := range strings.SplitSeq(selecting, ",") {
		stored, rest, _ := strings.Cut(variant, string(rune(endOfField)))
		variant = rest
		value := appendField(array[:0], name, h[name])
		if string(value[:len(value)-1]) == stored {
			continue
		}
		if name != "Accept-Language" || !prefers(h[name], language()) {
			return false
		}
	}
	return true
}

// prefers reports whether language is what the preference list likes best, and
// nothing else as much.
func prefers(lines []string, language string) bool {
	if language == "" || strings.Contains(language, ",") {
		return false
	}
	best, found, tied := -1.0, "", false
	for _, line := range lines {
		for member := range strings.SplitSeq(line, ",") {
			tag, params, _ := strings.Cut(member, ";")
			q := 1.0
			if v, ok := strings.CutPrefix(strings.ToLower(textproto.TrimString(params)), "q="); ok {
				var err error
				if q, err = strconv.ParseFloat(v, 64); err != nil {
					return false
				}
			}
			switch {
			case q > best:
				best, found, tied = q, textproto.TrimString(tag), false
			case q == best:
				tied = true
			}
		}
	}
	return !tied && best > 0 && strings.EqualFold(found, language)
}

// appendMembers appends the members of a list, without the white space around
// them, those of several lines as if they stood in one.
func appendMembers(buf []byte, lines []string) []byte {
	first := true
	for _, line := range lines {
		for line != "" {
			var member string
			if member, line = cutMember(line); !first {
				buf = append(buf, ',')
			}
			first = false
			buf = append(buf, textproto.TrimString(member)...)
		}
	}
	return buf
}

// appendSorted appends the members of a preference list in lower case and in
// order: preference is said by quality values, not by order (RFC 9110,
// sections 12.5.3 and 12.5.4).
func appendSorted(buf []byte, lines []string) []byte {
	var members []string
	for _, line := range lines {
		for member := range strings.SplitSeq(line, ",") {
			member = strings.ToLower(strings.ReplaceAll(strings.ReplaceAll(member, " ", ""), "\t", ""))
			if member = strings.TrimSuffix(strings.TrimSuffix(member, ";q=1.0"), ";q=1"); member != "" {
				members = append(members, member)
			}
		}
	}
	slices.Sort(members)
	for i, m := range slices.Compact(members) {
		if i > 0 {
			buf = append(buf, ',')
		}
		buf = append(buf, m...)
	}
	return buf
}

// device reduces User-Agent, of which there are as many as visitors, to what a
// page may sensibly depend on.
func device(lines []string) string {
	for _, line := range lines {
		for _, word := range [...]string{"Mobi", "Android", "iPhone", "iPad"} {
			if strings.Contains(line, word) {
				return "phone"
			}
		}
	}
	return "desktop"
}
