package router

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/foretier/foretier/health"
	"github.com/foretier/foretier/internal/fields"
	"github.com/foretier/foretier/internal/given"
	"github.com/foretier/foretier/internal/target"
	"github.com/foretier/foretier/internal/transit"
)

const (
	askLimit    = 5 * time.Second        // until an answer's header, and a refusal's end
	askBody     = 256 << 10              // bytes of a refusal
	askDrain    = 100 * time.Millisecond // for what follows a pass's header, so that its connection is kept
	askRemember = 5 * time.Minute        // the longest that a pass is kept
)

// AskOptions for [NewAsk]. The zero value is valid.
type AskOptions struct {
	// Target is the path, and perhaps the query, by which the service is asked, such as
	// /api/authz/forward-auth. Empty means "/".
	Target string
	// Fields names what of a pass's answer is told to the handlers below, such as
	// Remote-User, Remote-Groups. What a client has sent under these names is removed
	// before anybody is asked.
	Fields []string
	// By and Cookies are the fields and the cookies by which the service decides, such as
	// Authorization, or the cookie of its session. If there are any, it is told nothing else
	// of what the client has sent than these, and its passes are kept for as long as
	// they say: see [Ask]. With none it is told all fields, and asked for each request.
	By, Cookies []string
	// Timeout is how long it may take. Zero means 5 s; negative is an error.
	Timeout time.Duration
}

// An Ask asks somebody else whether a request may pass, as Traefik's ForwardAuth, Caddy's
// forward_auth and nginx's auth_request do, so that their services (oauth2-proxy, Authelia,
// Authentik, Keycloak's) suit:
//
//	gate, err := router.NewAsk(authPool, router.AskOptions{Target: "/oauth2/auth", Fields: []string{"X-Auth-Request-User"}})
//	router.Rule{Name: "tools", Use: []func(http.Handler) http.Handler{gate.Handler}, To: tools}
//
// It sends a GET without a body, with the fields of the request, its Host, and what
// Traefik and Caddy call X-Forwarded-Method and X-Forwarded-Uri: the target as those below
// get it. A pool adds X-Forwarded-For, -Host and -Proto. Conditions and ranges are left out.
//
// With 2xx the request passes, with AskOptions.Fields of the answer in its header; a Set-Cookie
// goes to the client. What redirects to a login, or is any other answer below 500, goes to
// the client as it is, 256 KiB at most, and is never stored. What is 5xx, takes too long,
// breaks off or cannot be had is 503: it never opens.
//
// What passes is the client's own: its answer is made private, so that no shared cache
// in front gives it to others. It belongs above the tier's own cache, in [Rule.Use]: pages that
// are stored below are served to who has passed. Nothing behind it is answered from the head.
//
// A pass with a max-age (and without no-store, no-cache or Set-Cookie) is kept for that
// long, 5 minutes at most, under a hash with a key of this process: for the same client,
// host, method and target, and the same By and Cookies. An answer whose Vary names neither
// X-Forwarded-Uri nor X-Forwarded-Method is kept for all of them. Who is asked for one is
// not asked for the same again meanwhile. An Ask is safe for concurrent use.
type Ask struct {
	service http.Handler
	opts    AskOptions
	url     *url.URL
	flights singleflight.Group
	key     []byte // of hashes
	kept    known[*ruling]

	asked, fromKept, refused, failed atomic.Uint64
}

// NewAsk returns an Ask that asks service, usually a pool, or an error that says what of
// the options is wrong.
func NewAsk(service http.Handler, opts AskOptions) (*Ask, error) {
	if err := given.Chain(service); err != nil {
		return nil, fmt.Errorf("router: ask: %w", err)
	}
	a := &Ask{service: service, opts: opts, key: []byte(rand.Text())}
	o := &a.opts
	o.Target, o.Timeout = cmp.Or(o.Target, "/"), cmp.Or(o.Timeout, askLimit)
	var err error
	if a.url, err = url.ParseRequestURI(o.Target); err != nil || a.url.Path == "" || a.url.Path[0] != '/' || a.url.Host != "" {
		return nil, fmt.Errorf("router: ask: Target %q: want a path, such as /api/authz/forward-auth; scheme and host are the pool's", o.Target)
	}
	if o.Timeout < 0 {
		return nil, errors.New("router: ask: Timeout must not be negative")
	}
	if o.Fields, err = askFields("Fields", o.Fields); err != nil {
		return nil, err
	}
	if o.By, err = askFields("By", o.By); err != nil {
		return nil, err
	}
	for _, name := range o.By {
		if name == "Cookie" {
			return nil, errors.New("router: ask: By: want the names of cookies in Cookies, not all of them")
		}
	}
	o.Cookies = slices.Clone(o.Cookies)
	for _, name := range o.Cookies {
		if err := ByCookie(name).check(); err != nil {
			return nil, fmt.Errorf("router: ask: Cookies: %q is no name of a cookie", name)
		}
	}
	return a, nil
}

// askFields returns names of fields in canonical form.
func askFields(what string, names []string) ([]string, error) {
	out := make([]string, len(names))
	for i, as := range names {
		name := http.CanonicalHeaderKey(as)
		switch {
		case !fields.Token(as):
			return nil, fmt.Errorf("router: ask: %s: %q is no name of a field: want one such as Remote-User", what, as)
		case fields.HopByHop(name), name == "Host", name == "Content-Length", name == "Set-Cookie", strings.HasPrefix(name, "X-Forwarded-"), name == "Forwarded":
			return nil, fmt.Errorf("router: ask: %s: %s is for the tier to say", what, name)
		}
		out[i] = name
	}
	return out, nil
}

// Handler is middleware for [Rule.Use]. The returned handler also has the methods Explain,
// Healthy and Wraps, by which a layer above asks what lies below; proofs follow whom it
// lets through to, and not whom it asks: that gets no request of a visitor's.
func (a *Ask) Handler(next http.Handler) http.Handler { return &asking{a, next} }

// Report implements [health.Reporter].
func (a *Ask) Report() health.Report {
	return health.Report{Kind: "ask", Name: handlerName(a.service), State: health.Up, Metrics: []health.Metric{
		health.Count("questions_total", "Questions that were put to the service.", a.asked.Load()),
		health.Count("passes_kept_total", "Passes of requests for which nobody was asked.", a.fromKept.Load()),
		health.Count("requests_refused_total", "Requests that the service has refused.", a.refused.Load()),
		health.Count("requests_failed_total", "Requests that could not be judged, and were refused.", a.failed.Load()),
	}}
}

type asking struct {
	*Ask
	next http.Handler
}

var errAsk = errors.New("router: the service that says who may pass has not said it")

// ServeHTTP implements [http.Handler].
func (h *asking) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	r, rec, end := vetted(r, h.opts.Fields...)
	defer end()
	says := h.ask(r, rec)
	switch {
	case says.err != nil:
		h.failed.Add(1)
		if r.Context().Err() != nil {
			transit.Fail(w, r, transit.StatusGone, says.err)
			return
		}
		transit.Fail(w, r, http.StatusServiceUnavailable, fmt.Errorf("%w: %w", errAsk, says.err))
		return
	case !says.passes():
		h.refused.Add(1)
		says.refuse(w)
		return
	}
	for _, name := range h.opts.Fields {
		if lines := says.header[name]; len(lines) > 0 {
			r.Header[name] = lines
		}
	}
	serveOwn(h.next, w, r, rec, says.header["Set-Cookie"])
}

// ask returns what the service says of r, whose record is rec.
func (a *Ask) ask(r *http.Request, rec *transit.Record) *ruling {
	if len(a.opts.By)+len(a.opts.Cookies) == 0 {
		s := a.put(r)
		rec.Link(s.journal)
		return s
	}
	q := a.question(r)
	if s := a.findPass(q, time.Now()); s != nil {
		a.fromKept.Add(1)
		return s
	}
	v, _, _ := a.flights.Do(string(q.exact[:]), func() (any, error) {
		s := a.put(r)
		a.keepPass(q, s, time.Now())
		return s, nil
	})
	s := v.(*ruling)
	rec.Link(s.journal)
	return s
}

// put asks the service, whatever becomes of r's client: others may wait for what it says.
func (a *Ask) put(r *http.Request) *ruling {
	a.asked.Add(1)
	ctx, rec := transit.Detach(r.Context())
	rec.Turn, rec.Storable, rec.Page, rec.Terms = nil, nil, nil, transit.Terms{}
	ctx, cancel := context.WithTimeout(ctx, a.opts.Timeout)
	defer cancel()
	w := &rulingWriter{header: make(http.Header), drain: func() { time.AfterFunc(askDrain, cancel) }}
	a.serve(w, a.outgoing(r).WithContext(ctx))
	w.ruling.journal = &rec.Journal
	w.ruling.judge(w.whole, context.Cause(ctx), rec.Cause())
	return &w.ruling
}

// serve calls the service. That its answer broke off is told by the writer.
func (a *Ask) serve(w *rulingWriter, r *http.Request) {
	defer func() {
		switch v := recover(); v {
		case nil:
			w.whole = true
		case http.ErrAbortHandler:
		default:
			panic(v)
		}
	}()
	a.service.ServeHTTP(w, r)
}

// outgoing returns the question about r.
func (a *Ask) outgoing(r *http.Request) *http.Request {
	u := *a.url
	out := &http.Request{
		Method: http.MethodGet, URL: &u, RequestURI: a.opts.Target, Host: r.Host, RemoteAddr: r.RemoteAddr, TLS: r.TLS,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Body: http.NoBody, Header: a.told(r.Header),
	}
	out.Header["X-Forwarded-Method"] = []string{r.Method}
	out.Header["X-Forwarded-Uri"] = []string{target.Of(r.URL).Location()}
	return out
}

// told returns the fields of a request of which the service is told.
func (a *Ask) told(h http.Header) http.Header {
	out := make(http.Header, len(h)+2)
	if len(a.opts.By)+len(a.opts.Cookies) == 0 {
		for name, lines := range h {
			if !ofAQuestion(name) {
				out[name] = lines
			}
		}
		return out
	}
	for _, name := range a.opts.By {
		if lines := h[name]; len(lines) > 0 {
			out[name] = lines
		}
	}
	if lines := h["Cookie"]; len(lines) > 0 && len(a.opts.Cookies) > 0 {
		out["Cookie"] = lines
		fields.DropCookies(out, func(name string) bool { return !slices.Contains(a.opts.Cookies, name) })
	}
	return out
}

// ofAQuestion reports whether a field is of a request's body, or its connection, or
// would have the service answer with less than what it has to say.
func ofAQuestion(name string) bool {
	return fields.HopByHop(name) || strings.HasPrefix(name, "Content-") || strings.HasPrefix(name, "If-") ||
		name == "Range" || name == "Expect" || name == "Accept-Encoding" || strings.HasPrefix(name, "Sec-Websocket-")
}

// Wraps returns whom it lets through to.
func (h *asking) Wraps() []http.Handler { return []http.Handler{h.next} }

// Healthy reports whether that could serve r.
func (h *asking) Healthy(r *http.Request) bool { return health.Healthy(h.next, r) }

// Explain implements [health.Explainer]. It asks nobody.
func (h *asking) Explain(r *http.Request) health.Decision {
	r, _ = transit.Aside(r)
	r, _, _ = vetted(r, h.opts.Fields...)
	question, rec := transit.Aside(h.outgoing(r).WithContext(r.Context()))
	rec.Turn = nil
	d := health.Decision{Part: "ask", Verdict: "asks " + handlerName(h.service), Why: "what follows behind it is for who passes"}
	if len(h.opts.By)+len(h.opts.Cookies) > 0 && h.findPass(h.question(r), time.Now()) != nil {
		d.Verdict, d.Why = "lets it through", "it has passed before, which is kept"
	} else {
		d.Next = append(d.Next, health.Explain(h.service, question))
	}
	d.Next = append(d.Next, health.Explain(h.next, r))
	return d
}
