package router

import (
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"unsafe"

	"github.com/foretier/foretier/router/internal/proof"
)

type containsMatcher struct {
	noParams
	name  string
	parts []string
}

// HeaderContains matches if the request has the field name, and one of its lines
// contains one of the parts, byte for byte.
func HeaderContains(name string, parts ...string) Matcher {
	return containsMatcher{name: http.CanonicalHeaderKey(name), parts: slices.Clone(parts)}
}

func (m containsMatcher) match(v *view) bool {
	v.readsMore()
	return slices.ContainsFunc(v.r.Header[m.name], func(line string) bool {
		return slices.ContainsFunc(m.parts, func(part string) bool { return strings.Contains(line, part) })
	})
}

func (m containsMatcher) Match(r *http.Request) bool { return matchRequest(m, r) }
func (m containsMatcher) String() string {
	return list("HeaderContains", append([]string{m.name}, m.parts...))
}

func (m containsMatcher) check() error {
	if err := checkField("HeaderContains", m.name); err != nil {
		return err
	}
	for _, part := range m.parts {
		switch {
		case part == "":
			return fmt.Errorf("HeaderContains(%q, %q) takes every line: want Header(%q)", m.name, part, m.name)
		case strings.ContainsAny(part, "\r\n\x00"):
			return fmt.Errorf("HeaderContains(%q, %q) never matches: no line has a line break or a zero byte", m.name, part)
		}
	}
	return notEmpty("HeaderContains", len(m.parts))
}

// tell adds lines that contain a part, and what that contains, and nothing else that
// any condition names, and one that contains nothing.
func (m containsMatcher) tell(d *proof.Space) {
	lines := []string{d.Gap()}
	for _, part := range m.parts {
		lines = append(lines, d.Gap()+part+d.Gap())
	}
	tellLines(d, m.name, lines...)
}

func (m containsMatcher) says(d *proof.Space, _ *proof.Class) proof.Formula {
	return d.Set(lineKey(m.name), m.String(), m.Match)
}

type regexpMatcher struct {
	noParams
	name string
	expr string
	re   *regexp.Regexp
	err  error
}

// HeaderRegexp matches if the request has the field name, and the regular expression,
// in the syntax of package regexp, matches a part of one of its lines; anchor it with ^
// and $ for whole ones. A router asks it once a request at most. In proofs it may say
// either of every request that has the field.
func HeaderRegexp(name, expr string) Matcher {
	m := &regexpMatcher{name: http.CanonicalHeaderKey(name), expr: expr}
	m.re, m.err = regexp.Compile(expr)
	return m
}

func (m *regexpMatcher) match(v *view) bool {
	v.readsMore()
	return v.rd.once(unsafe.Pointer(m), func() bool {
		return slices.ContainsFunc(v.r.Header[m.name], m.re.MatchString)
	})
}

func (m *regexpMatcher) Match(r *http.Request) bool { return matchRequest(m, r) }
func (m *regexpMatcher) String() string             { return list("HeaderRegexp", []string{m.name, m.expr}) }
func (m *regexpMatcher) check() error {
	if err := checkField("HeaderRegexp", m.name); err != nil {
		return err
	}
	if m.err != nil {
		return fmt.Errorf("HeaderRegexp(%q, %q): %w", m.name, m.expr, m.err)
	}
	return notEmpty("HeaderRegexp", len(m.expr))
}

func (m *regexpMatcher) tell(d *proof.Space) {
	tellLines(d, m.name)
	d.AddOpen(m.String(), m.String()+" does not match", m.String()+" matches")
}

func (m *regexpMatcher) says(d *proof.Space, class *proof.Class) proof.Formula {
	return proof.All([]proof.Formula{d.Maybe(m.String()), Header(m.name).says(d, class)})
}
