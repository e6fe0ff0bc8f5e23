package router

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/foretier/foretier/internal/target"
	"github.com/foretier/foretier/router/internal/proof"
)

type suffixMatcher struct {
	noParams
	suffixes []suffix
}

// PathSuffix matches if the canonical path ends in one of the suffixes, such as
// ".png" or "/edit", byte for byte.
//
// It is for what a path is called. What a server makes of it is another matter:
// /x.php/y may run as /x.php; see [Admin].
func PathSuffix(suffixes ...string) Matcher {
	m := &suffixMatcher{suffixes: make([]suffix, len(suffixes))}
	for i, s := range suffixes {
		m.suffixes[i] = suffix(s)
	}
	return m
}

func (m *suffixMatcher) match(v *view) bool {
	if v.rd.Refusal != "" {
		return false
	}
	return m.ends(v.path)
}

func (m *suffixMatcher) ends(path string) bool {
	for _, s := range m.suffixes {
		if strings.HasSuffix(path, string(s)) {
			return true
		}
	}
	return false
}

func (m *suffixMatcher) Match(r *http.Request) bool { return matchRequest(m, r) }

func (m *suffixMatcher) String() string {
	texts := make([]string, len(m.suffixes))
	for i, s := range m.suffixes {
		texts[i] = string(s)
	}
	return list("PathSuffix", texts)
}

func (m *suffixMatcher) check() error {
	for _, s := range m.suffixes {
		if s == "" {
			return fmt.Errorf("PathSuffix(%q) takes everything: want no condition", string(s))
		}
		if strings.HasPrefix(string(s), "*") {
			return fmt.Errorf("PathSuffix(%q) is no suffix: want it without a star, such as %q", string(s), ".png")
		}
		if path, ok := target.Resolve("/x" + string(s)); !ok || path != "/x"+string(s) {
			return fmt.Errorf("PathSuffix(%q) never matches a canonical path", string(s))
		}
	}
	return notEmpty("PathSuffix", len(m.suffixes))
}

func (m *suffixMatcher) tell(d *proof.Space) {
	for _, s := range m.suffixes {
		d.AddPattern(s)
	}
}

func (m *suffixMatcher) says(d *proof.Space, class *proof.Class) proof.Formula {
	if class != nil {
		return proof.Constant(class.Readings.Refusal == "" && m.ends(class.Readings.Canonical))
	}
	parts := make([]proof.Formula, 0, len(m.suffixes))
	for _, s := range m.suffixes {
		parts = append(parts, d.Maybe(s.String()))
	}
	return proof.Any(parts)
}

// A suffix is all paths that end in it.
type suffix string

// String, Paths and the others are the suffix to a prover.
func (s suffix) String() string                      { return "*" + string(s) }
func (s suffix) Paths(word string) []string          { return []string{"/" + word + string(s)} }
func (s suffix) Filled(segments, word string) string { return "/" + segments + string(s) }
func (s suffix) Single() bool                        { return false }
func (s suffix) Ending() string                      { return string(s) }

// Covers reports whether all paths of another pattern end in s, as far as its text
// shows it.
func (s suffix) Covers(other proof.Pattern) bool {
	switch o := other.(type) {
	case suffix:
		return strings.HasSuffix(string(o), string(s))
	case *pattern:
		return strings.HasSuffix(o.text[strings.LastIndexAny(o.text, "}*")+1:], string(s))
	}
	return false
}
