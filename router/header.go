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
	switch {
	case m.name == "":
		return notEmpty("Header", 0)
	case !fields.Token(m.name):
		return fmt.Errorf("Header(%q) is no name of a field: want one without colon and value, such as X-Beta", m.name)
	case m.name == "Host":
		return fmt.Errorf("Header(%q) never matches: want Host(...)", m.name)
	case m.name == "Transfer-Encoding" || m.name == "Trailer":
		return fmt.Errorf("Header(%q) never matches: the server takes it off", m.name)
	}
	return checkValues("Header", m.name, m.values)
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

func (m headerMatcher) key() string { return "header " + m.name }

func (m headerMatcher) tell(d *proof.Space) {
	for _, v := range append([]string{d.Word()}, m.values...) {
		d.AddSeveral(m.key(), v, func(r *http.Request) { r.Header.Add(m.name, v) })
	}
}

func (m headerMatcher) says(d *proof.Space, _ *proof.Class) proof.Formula {
	return d.Set(m.key(), m.String(), m.Match)
}
