package router

import (
	"fmt"
	"net/http"
	"net/textproto"
	"slices"
	"strings"

	"github.com/foretier/foretier/internal/fields"
	"github.com/foretier/foretier/router/internal/proof"
)

type headerMatcher struct {
	noParams
	name   string
	values []string
}

// Header matches if the request has the field name and, if values are given,
// one of its lines is one of them, byte for byte.
func Header(name string, values ...string) Matcher {
	return headerMatcher{name: http.CanonicalHeaderKey(name), values: slices.Clone(values)}
}

func (m headerMatcher) match(v *view) bool {
	v.readsMore()
	lines := v.r.Header[m.name]
	if len(m.values) == 0 {
		return len(lines) > 0
	}
	return slices.ContainsFunc(lines, func(line string) bool { return slices.Contains(m.values, line) })
}

func (m headerMatcher) Match(r *http.Request) bool { return matchRequest(m, r) }
func (m headerMatcher) String() string             { return list("Header", append([]string{m.name}, m.values...)) }
func (m headerMatcher) check() error {
	if err := checkField("Header", m.name); err != nil {
		return err
	}
	return checkValues("Header", m.name, m.values)
}

// checkField says why no request has a field of that name.
func checkField(kind, name string) error {
	switch {
	case name == "":
		return notEmpty(kind, 0)
	case !fields.Token(name):
		return fmt.Errorf("%s(%q) is no name of a field: want one without colon and value, such as X-Beta", kind, name)
	case name == "Host":
		return fmt.Errorf("%s(%q) never matches: want Host(...)", kind, name)
	case name == "Transfer-Encoding" || name == "Trailer":
		return fmt.Errorf("%s(%q) never matches: the server takes it off", kind, name)
	}
	return nil
}

// checkValues says which value no request can have: a field's and a cookie's
// are trimmed.
func checkValues(kind, name string, values []string) error {
	for _, v := range values {
		if textproto.TrimString(v) != v || strings.ContainsAny(v, "\r\n\x00") || kind == "Cookie" && strings.Contains(v, ";") {
			return fmt.Errorf("%s(%q, %q) never matches: want a value without blanks around it", kind, name, v)
		}
	}
	return nil
}

func (m headerMatcher) tell(d *proof.Space) { tellLines(d, m.name, m.values...) }

func (m headerMatcher) says(d *proof.Space, _ *proof.Class) proof.Formula {
	return d.Set(lineKey(m.name), m.String(), m.Match)
}

// lineKey is the dimension of the lines of a field.
func lineKey(name string) string { return "header " + name }

// tellLines adds lines of a field to a space, and one that none of its conditions means.
func tellLines(d *proof.Space, name string, lines ...string) {
	for _, line := range append([]string{d.Word()}, lines...) {
		d.AddSeveral(lineKey(name), line, func(r *http.Request) { r.Header.Add(name, line) })
	}
}
