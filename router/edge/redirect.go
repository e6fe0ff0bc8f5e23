package edge

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/foretier/foretier/health"
	"github.com/foretier/foretier/internal/fields"
	"github.com/foretier/foretier/internal/target"
	"github.com/foretier/foretier/internal/transit"
)

var errNoHost = errors.New("edge: there is no host to redirect to")

// HTTPSRedirect sends every request to the same host and target over https, with
// 308, which keeps method and body. It is what listens on port 80:
//
//	plain, err := edge.New(edge.HTTPSRedirect(), edge.Options{Addr: ":80"})
//	...
//	err = secure.Run(ctx, apps, edge.RunnerFunc(func(ctx context.Context) error { return plain.Run(ctx) }))
//
// The target goes on as it was sent, with what no URI may hold escaped. A request without a host, as HTTP/1.0
// allows, is answered 400. It reaches no backend, so every router.Claim holds
// for it.
func HTTPSRedirect() http.Handler { return &redirect{} }

// HTTPSRedirectPort is [HTTPSRedirect] to a port other than 443, from 1 to 65535.
func HTTPSRedirectPort(port int) (http.Handler, error) {
	switch {
	case port < 1 || port > 65535:
		return nil, fmt.Errorf("edge: redirect to port %d: want one from 1 to 65535", port)
	case port == 443:
		return &redirect{}, nil
	}
	return &redirect{":" + strconv.Itoa(port)}, nil
}

type redirect struct {
	port string // with its colon; empty for 443
}

// ServeHTTP implements [http.Handler].
func (d *redirect) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	host := r.Host
	if !fields.Host(host) {
		transit.Fail(w, r, http.StatusBadRequest, errNoHost)
		return
	}
	host, _ = fields.SplitPort(host)
	to := target.Of(r.URL).Location()
	if !strings.HasPrefix(to, "/") { // the asterisk of OPTIONS
		to = "/"
	}
	w.Header().Set("Location", "https://"+host+d.port+to)
	w.WriteHeader(http.StatusPermanentRedirect)
}

// Wraps returns nothing: the answer is the tier's own.
func (d *redirect) Wraps() []http.Handler { return nil }

// Explain implements [health.Explainer].
func (d *redirect) Explain(*http.Request) health.Decision {
	return health.Decision{Part: "redirect", Verdict: "308", Why: "to https"}
}
