package router

import (
	"fmt"
	"iter"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/foretier/foretier/internal/target"
	"github.com/foretier/foretier/router/internal/proof"
)

type queryMatcher struct {
	noParams
	name   string
	values []string
}

// Query matches if the query has a parameter of that name and, if values are given,
// one with one of them. Both are decoded, as a form's are, and compared byte for byte.
//
// It is for convenience, not for protection: applications read queries in many ways,
// and take parameters from a request's body too.
func Query(name string, values ...string) Matcher {
	return queryMatcher{name: name, values: slices.Clone(values)}
}

// match does not call readsMore: an edge remembers by the target, to the byte.
func (m queryMatcher) match(v *view) bool {
	v.readsQuery()
	for value := range v.query(m.name) {
		if len(m.values) == 0 || slices.Contains(m.values, value) {
			return true
		}
	}
	return false
}

// query yields the values of a parameter. Rules that look at the query may be many,
// each is asked for every reading of the path, and a hostile query holds thousands.
func (v *view) query(name string) iter.Seq[string] {
	rd := v.rd
	if rd == nil || !many(&rd.queries) {
		return func(yield func(string) bool) {
			for sent, value := range target.Parameters(v.r.URL.RawQuery) {
				if sent == name && !yield(value) {
					return
				}
			}
		}
	}
	if rd.query == nil {
		rd.query = make(map[string][]string)
		for sent, value := range target.Parameters(v.r.URL.RawQuery) {
			rd.query[sent] = append(rd.query[sent], value)
		}
	}
	return slices.Values(rd.query[name])
}

func (m queryMatcher) Match(r *http.Request) bool { return matchRequest(m, r) }
func (m queryMatcher) String() string             { return list("Query", append([]string{m.name}, m.values...)) }
func (m queryMatcher) check() error {
	if strings.ContainsAny(m.name, "=&?") {
		return fmt.Errorf("Query(%q) is no name of a parameter: want it without value, such as Query(%q, %q)", m.name, "preview", "1")
	}
	return notEmpty("Query", len(m.name))
}

func (m queryMatcher) key() string { return "query " + m.name }

func (m queryMatcher) tell(d *proof.Space) {
	for _, v := range append([]string{d.Word()}, m.values...) {
		d.AddSeveral(m.key(), v, func(r *http.Request) { addParameter(r, m.name, v) })
	}
}

// addParameter adds a parameter to the query of a request that is being made.
func addParameter(r *http.Request, name, value string) {
	sep := "?"
	if r.URL.RawQuery != "" {
		sep = "&"
		r.URL.RawQuery += sep
	}
	text := url.QueryEscape(name) + "=" + url.QueryEscape(value)
	r.URL.RawQuery += text
	if r.RequestURI != "" {
		r.RequestURI += sep + text
	}
}

func (m queryMatcher) says(d *proof.Space, _ *proof.Class) proof.Formula {
	return d.Set(m.key(), m.String(), m.Match)
}
