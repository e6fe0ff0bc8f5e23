package fields

import (
	"iter"
	"slices"
	"strings"
)

// Members yields the members of a comma-separated field (RFC 9110, section
// 5.6.1), trimmed, the empty ones left out. Quoted strings are not respected:
// it is meant for lists of tokens. A list may be as long as a header, of as many
// members as it has commas, so look at each once and keep none.
func Members(lines []string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for _, line := range lines {
			for line != "" {
				if separates(line[0]) { // a hostile list is nothing else
					line = line[1:]
					continue
				}
				member := line
				if i := strings.IndexByte(line, ','); i >= 0 {
					member, line = line[:i], line[i+1:]
				} else {
					line = ""
				}
				for separates(member[len(member)-1]) {
					member = member[:len(member)-1]
				}
				if !yield(member) {
					return
				}
			}
		}
	}
}

func separates(c byte) bool { return c == ',' || c == ' ' || c == '\t' || c == '\r' || c == '\n' }

// List returns the members that [Members] yields.
func List(lines []string) []string { return slices.Collect(Members(lines)) }

// HasToken reports whether the comma-separated field lists token, in any case.
func HasToken(lines []string, token string) bool {
	for member := range Members(lines) {
		if EqualFold(member, token) {
			return true
		}
	}
	return false
}
