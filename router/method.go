package router

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/foretier/foretier/internal/fields"
	"github.com/foretier/foretier/router/internal/proof"
)

type methodMatcher struct {
	noParams
	methods []string
}

// Method matches any of the methods, which are case-sensitive (RFC 9110,
// section 9.1). GET includes HEAD.
func Method(methods ...string) Matcher { return methodMatcher{methods: slices.Clone(methods)} }

func (m methodMatcher) match(v *view) bool {
	for _, method := range m.methods {
		if v.r.Method == method || method == http.MethodGet && (v.r.Method == http.MethodHead || v.r.Method == "") {
			return true
		}
	}
	return false
}

func (m methodMatcher) Match(r *http.Request) bool { return matchRequest(m, r) }
func (m methodMatcher) String() string             { return list("Method", m.methods) }
func (m methodMatcher) check() error {
	for _, method := range m.methods {
		if !fields.Token(method) {
			return fmt.Errorf("Method(%q) is no method: want each by itself, such as Method(%q, %q)", method, "GET", "POST")
		}
		if upper := strings.ToUpper(method); upper != method && slices.Contains(usualMethods, upper) {
			return fmt.Errorf("Method(%q) never matches, methods are case-sensitive: want %q", method, upper)
		}
	}
	return notEmpty("Method", len(m.methods))
}

// usualMethods are those that nobody means in another case.
var usualMethods = []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE",
	"PURGE", "BAN", "REFRESH", "QUERY", "PROPFIND", "PROPPATCH", "MKCOL", "COPY", "MOVE", "LOCK", "UNLOCK", "REPORT", "SEARCH"}

func (m methodMatcher) tell(d *proof.Space) {
	for _, method := range m.methods {
		d.Add("method", func(r *http.Request) { r.Method = method })
	}
}

func (m methodMatcher) says(d *proof.Space, _ *proof.Class) proof.Formula {
	return d.Set("method", m.String(), m.Match)
}
