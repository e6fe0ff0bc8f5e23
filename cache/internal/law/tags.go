package law

import (
	"net/http"
	"strings"

	"github.com/dunglas/httpsfv"
)

// TagFields are the fields in which applications name what a response depends
// on, for the cache only.
var TagFields = [...]string{"Cache-Tag", "Surrogate-Key", "Xkey", "X-Magento-Tags"}

// Tags returns what the tag fields name: members are separated by commas or
// white space.
func Tags(h http.Header) []string {
	var out []string
	for _, name := range TagFields {
		for _, line := range h[name] {
			out = append(out, strings.FieldsFunc(line, func(c rune) bool { return c == ',' || c == ' ' || c == '\t' })...)
		}
	}
	return out
}

// Groups returns the groups that Cache-Groups or Cache-Group-Invalidation
// names: a list of strings, ignored whole if it is anything else (RFC 9875,
// sections 2 and 3).
func Groups(lines []string) []string {
	if len(lines) == 0 {
		return nil
	}
	list, err := httpsfv.UnmarshalList(lines)
	if err != nil {
		return nil
	}
	out := make([]string, 0, len(list))
	for _, member := range list {
		item, ok := member.(httpsfv.Item)
		if !ok {
			return nil
		}
		s, ok := item.Value.(string)
		if !ok {
			return nil
		}
		out = append(out, s)
	}
	return out
}
