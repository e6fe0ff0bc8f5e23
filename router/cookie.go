package router

import (
	"fmt"
	"iter"
	"net/http"
	"net/textproto"
	"slices"
	"strings"

	"github.com/foretier/foretier/internal/fields"
	"github.com/foretier/foretier/router/internal/proof"
)

type cookieMatcher struct {
	noParams
	name   string
	values []string
}

// Cookie matches if the request has a cookie of that name and, if values are
// given, with one of them, in quotes or not. A cookie whose value net/http
// refuses counts too: a backend may accept it.
func Cookie(name string, values ...string) Matcher {
	return cookieMatcher{name: name, values: slices.Clone(values)}
}

func (m cookieMatcher) match(v *view) bool {
	v.readsMore()
	for pair := range v.cookies(m.name) {
		sent, plain := fields.CookieValue(pair)
		if len(m.values) == 0 || slices.Contains(m.values, sent) || slices.Contains(m.values, plain) {
			return true
		}
	}
	return false
}

// manyLooks is after how many looks at the cookies of one request they are put
// in order: for fewer they are gone through each time, which costs less.
const manyLooks = 4

// many counts a look, and reports whether there were many before.
func many(looks *uint8) bool {
	if *looks >= manyLooks {
		return true
	}
	*looks++
	return false
}

// cookies yields the cookies of a name, as they were sent. Rules that look at
// cookies may be many, each is asked for every reading of the path, and a hostile
// header holds hundreds.
func (v *view) cookies(name string) iter.Seq[string] {
	rd := v.rd
	if rd == nil || !many(&rd.looks) {
		return func(yield func(string) bool) {
			for sent, pair := range fields.Cookies(v.r.Header) {
				if sent == name && !yield(pair) {
					return
				}
			}
		}
	}
	if rd.cookies == nil {
		rd.cookies = make(map[string][]string)
		for sent, pair := range fields.Cookies(v.r.Header) {
			rd.cookies[sent] = append(rd.cookies[sent], pair)
		}
	}
	return slices.Values(rd.cookies[name])
}

func (m cookieMatcher) Match(r *http.Request) bool { return matchRequest(m, r) }
func (m cookieMatcher) String() string             { return list("Cookie", append([]string{m.name}, m.values...)) }
func (m cookieMatcher) check() error {
	switch {
	case m.name == "":
		return notEmpty("Cookie", 0)
	case textproto.TrimString(m.name) != m.name || strings.ContainsAny(m.name, "=;,*\r\n\x00"):
		return fmt.Errorf("Cookie(%q) is no name of a cookie: want it without value, and whole", m.name)
	}
	return checkValues("Cookie", m.name, m.values)
}

func (m cookieMatcher) key() string { return "cookie " + m.name }

func (m cookieMatcher) tell(d *proof.Space) {
	for _, v := range append([]string{d.Word()}, m.values...) {
		// Not by AddCookie, which takes quotes off.
		d.AddSeveral(m.key(), v, func(r *http.Request) {
			pairs := append(r.Header["Cookie"], m.name+"="+v)
			r.Header["Cookie"] = []string{strings.Join(pairs, "; ")}
		})
	}
}

func (m cookieMatcher) says(d *proof.Space, _ *proof.Class) proof.Formula {
	return d.Set(m.key(), m.String(), m.Match)
}
