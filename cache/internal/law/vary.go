package law

import (
	"net/http"
	"net/textproto"
	"slices"
	"strconv"
	"strings"
)

func decimal(n int64) string { return strconv.FormatInt(n, 10) }

// Selecting returns the fields that Vary names, canonical, sorted, each once,
// separated by commas (RFC 9110, section 12.5.5).
func Selecting(lines []string) string {
	if len(lines) == 0 {
		return ""
	}
	var names []string
	for _, line := range lines {
		for name := range strings.SplitSeq(line, ",") {
			if name = textproto.TrimString(name); name != "" {
				names = append(names, textproto.CanonicalMIMEHeaderKey(name))
			}
		}
	}
	slices.Sort(names)
	return strings.Join(slices.Compact(names), ",")
}

// AppendVariant appends to buf the normalised values that a request has in the
// selecting fields (RFC 9111, section 4.1). Two requests match if theirs are
// equal.
func AppendVariant(buf []byte, selecting string, h http.Header) []byte {
	for name := range strings.SplitSeq(selecting, ",") {
		lines := h[name]
		if len(lines) == 0 {
			buf = append(buf, 0)
			continue
		}
		switch name {
		case "Accept-Language", "Accept-Encoding":
			buf = appendSorted(buf, lines)
		case "User-Agent":
			buf = append(buf, device(lines)...)
		default:
			buf = appendMembers(buf, lines)
		}
		buf = append(buf, 1)
	}
	return buf
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
			if member = strings.TrimSuffix(member, ";q=1"); member != "" {
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
