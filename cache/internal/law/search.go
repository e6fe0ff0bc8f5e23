package law

import (
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/dunglas/httpsfv"

	"github.com/foretier/foretier/internal/target"
)

// maxSearch bounds a No-Vary-Search, in bytes: longer ones are not heeded, for each
// stays in memory and is read again.
const maxSearch = 1 << 10

// A Search is what a No-Vary-Search says: which parameters of a query, and whether
// their order, have no bearing on the response (draft-ietf-httpbis-no-vary-search). Nil
// is that of a response that says nothing: its query counts to the byte. It is never
// modified.
type Search struct {
	Text string // the field

	only  bool     // names are those that count; else those that do not
	names []string // decoded, in order
	order bool     // the order of names does not count
}

// ReadSearch reads a No-Vary-Search. What is not understood says nothing (section 4.1).
func ReadSearch(text string) *Search {
	if text == "" || len(text) > maxSearch {
		return nil
	}
	dict, err := httpsfv.UnmarshalDictionary([]string{text})
	if err != nil {
		return nil
	}
	s := &Search{Text: strings.Clone(text)}
	if order, ok := dict.Get("key-order"); ok {
		if s.order, ok = flag(order); !ok {
			return nil
		}
	}
	listed := "params"
	if params, ok := dict.Get("params"); ok {
		if _, isList := params.(httpsfv.InnerList); !isList {
			if s.only, ok = flag(params); !ok {
				return nil
			}
			listed = "except"
		}
	}
	_, excepts := dict.Get("except")
	if excepts && !s.only {
		return nil
	}
	if list, ok := dict.Get(listed); ok {
		if s.names, ok = parameterNames(list); !ok {
			return nil
		}
	}
	if !s.only && len(s.names) == 0 && !s.order {
		return nil
	}
	return s
}

// flag returns a member that is a boolean.
func flag(m httpsfv.Member) (value, ok bool) {
	item, ok := m.(httpsfv.Item)
	if !ok {
		return false, false
	}
	value, ok = item.Value.(bool)
	return value, ok
}

// parameterNames returns a list of strings as names of parameters (section 4.3).
func parameterNames(m httpsfv.Member) (names []string, ok bool) {
	list, ok := m.(httpsfv.InnerList)
	if !ok {
		return nil, false
	}
	for _, item := range list.Items {
		name, ok := item.Value.(string)
		if !ok {
			return nil, false
		}
		if name = target.DecodeForm(name); !utf8.ValidString(name) {
			return nil, false // see Normal
		}
		names = append(names, strings.Clone(name))
	}
	slices.Sort(names)
	return slices.Compact(names), true
}

// A parameter is one of a query: its name, decoded, and its text.
type parameter struct{ name, text string }

// Normal returns the one form of all queries that s takes for the same as query. Of
// what counts no byte is changed, so that fewer are the same than might be (section 5):
// a=%31 is not a=1. Nor does s say anything of a query with a name that is no UTF-8,
// which would be compared by what stands in for its bytes.
func (s *Search) Normal(query string) string {
	if s == nil || query == "" {
		return query
	}
	var few [16]parameter
	kept := few[:0]
	for text := range strings.SplitSeq(query, "&") {
		if text == "" {
			continue
		}
		name, _, _ := strings.Cut(text, "=")
		if name = target.DecodeForm(name); !utf8.ValidString(name) {
			return query
		}
		if _, listed := slices.BinarySearch(s.names, name); listed == s.only {
			kept = append(kept, parameter{name, text})
		}
	}
	if s.order {
		slices.SortStableFunc(kept, func(a, b parameter) int { return strings.Compare(a.name, b.name) })
	}
	b := make([]byte, 0, len(query))
	for i, p := range kept {
		if i > 0 {
			b = append(b, '&')
		}
		b = append(b, p.text...)
	}
	if string(b) == query {
		return query
	}
	return string(b)
}
