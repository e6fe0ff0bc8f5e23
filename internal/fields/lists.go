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

// Backward yields what [Members] does from the last to the first: to a field that
// each hop adds to, the latest has added last.
func Backward(lines []string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for _, line := range slices.Backward(lines) {
			for line != "" {
				if separates(line[len(line)-1]) {
					line = line[:len(line)-1]
					continue
				}
				member := line
				if i := strings.LastIndexByte(line, ','); i >= 0 {
					line, member = line[:i], line[i+1:]
				} else {
					line = ""
				}
				for separates(member[0]) {
					member = member[1:]
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

// CutMember cuts a list behind its first comma that is not inside a quoted string
// (RFC 9110, sections 5.6.1 and 5.6.4), for fields whose members have arguments, as
// those of Cache-Control. The member is not trimmed, and may be empty.
func CutMember(list string) (member, rest string) { return cutMember(list, false) }

// CutCommented is [CutMember] for fields whose members hold comments, in which
// commas may stand as well (RFC 9110, section 5.6.5): Via is one. To others a
// parenthesis means nothing, and would swallow what follows.
func CutCommented(list string) (member, rest string) { return cutMember(list, true) }

func cutMember(list string, comments bool) (member, rest string) {
	depth, quoted := 0, false
	for i := 0; i < len(list); i++ {
		switch c := list[i]; {
		case c == '\\' && (quoted || depth > 0):
			i++
		case c == '"' && depth == 0:
			quoted = !quoted
		case quoted:
		case c == '(' && comments:
			depth++
		case c == ')' && depth > 0:
			depth--
		case c == ',' && depth == 0:
			return list[:i], list[i+1:]
		}
	}
	return list, ""
}

// HasToken reports whether the comma-separated field lists token, in any case.
func HasToken(lines []string, token string) bool {
	for member := range Members(lines) {
		if EqualFold(member, token) {
			return true
		}
	}
	return false
}
