package acme

import (
	"net/http"
	"strings"

	"github.com/foretier/foretier/health"
	"github.com/foretier/foretier/internal/fields"
)

// challenges begins the paths at which an authority verifies that a name is ours (RFC
// 8555, section 8.3).
const challenges = "/.well-known/acme-challenge/"

// Handler answers the authority's challenges for Hosts, at [http.MethodGet] below
// /.well-known/acme-challenge/, and has next answer all else. It is for the server at
// port 80, before edge.HTTPSRedirect. Only what is under way is answered: other
// paths below it are next's, as another client's challenges are.
func (m *Manager) Handler(next http.Handler) http.Handler { return &challenged{m, next} }

type challenged struct {
	m    *Manager
	next http.Handler
}

// ServeHTTP implements [http.Handler].
func (c *challenged) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !c.ours(r) || !c.answer(w, r) {
		c.next.ServeHTTP(w, r)
	}
}

// ours reports whether r may be a challenge.
func (c *challenged) ours(r *http.Request) bool {
	token, ok := strings.CutPrefix(r.URL.Path, challenges)
	if !ok || r.Method != http.MethodGet || !fields.Token(token) {
		return false
	}
	return c.m.hosts[fields.Hostname(r.Host)]
}

func (c *challenged) answer(w http.ResponseWriter, r *http.Request) bool {
	if !c.m.look() {
		return false
	}
	defer c.m.looked()
	return c.m.issuer.HandleHTTPChallenge(w, r)
}

// Wraps returns the handler for all else.
func (c *challenged) Wraps() []http.Handler { return []http.Handler{c.next} }

// Explain implements [health.Explainer]. It does not look whether a challenge is under
// way, which may take a while.
func (c *challenged) Explain(r *http.Request) health.Decision {
	if c.ours(r) {
		return health.Decision{Part: "acme", Verdict: "challenge", Why: "an authority's, if one is under way", Next: []health.Decision{health.Explain(c.next, r)}}
	}
	return health.Explain(c.next, r)
}
