package fields

import "strings"

// Names is a list of names, of which those that end in * stand for all that begin
// so.
type Names []string

// Match reports whether one of them stands for name.
func (n Names) Match(name string) bool {
	for _, pattern := range n {
		last := len(pattern) - 1
		if last > 0 && (name == "" || name[0] != pattern[0]) {
			continue // most of them, and a hostile request has thousands
		}
		if pattern == name || last >= 0 && pattern[last] == '*' && strings.HasPrefix(name, pattern[:last]) {
			return true
		}
	}
	return false
}

// MayBegin reports whether one of them may match a name that begins with
// first.
func (n Names) MayBegin(first byte) bool {
	for _, pattern := range n {
		if pattern != "" && (pattern[0] == first || pattern == "*") {
			return true
		}
	}
	return false
}
