package router

import (
	"crypto/tls"
	"fmt"
	"net/http"

	"github.com/foretier/foretier/internal/transit"
	"github.com/foretier/foretier/router/internal/proof"
)

type schemeMatcher struct {
	noParams
	scheme string
}

// Scheme matches requests by "http" or "https", as clients see it: what a proxy in
// front says of it counts if an edge trusts that.
func Scheme(scheme string) Matcher { return schemeMatcher{scheme: scheme} }

// match does not call readsMore: an edge remembers by the scheme too.
func (m schemeMatcher) match(v *view) bool { return transit.Scheme(v.r) == m.scheme }

func (m schemeMatcher) Match(r *http.Request) bool { return matchRequest(m, r) }
func (m schemeMatcher) String() string             { return list("Scheme", []string{m.scheme}) }
func (m schemeMatcher) check() error {
	if m.scheme != "http" && m.scheme != "https" {
		return fmt.Errorf("Scheme(%q) never matches: want %q or %q", m.scheme, "http", "https")
	}
	return nil
}

func (m schemeMatcher) tell(d *proof.Space) {
	if !d.Has("scheme") {
		d.Add("scheme", func(r *http.Request) { r.TLS = nil })
		d.Add("scheme", func(r *http.Request) { r.TLS = new(tls.ConnectionState) })
	}
}

func (m schemeMatcher) says(d *proof.Space, _ *proof.Class) proof.Formula {
	return d.Set("scheme", m.String(), m.Match)
}
