package router

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/foretier/foretier/internal/target"
	"github.com/foretier/foretier/internal/transit"
)

// Options for [New]. The zero value is valid.
type Options struct {
	// Name tells routers apart in reports; empty means "router".
	Name string
	// Logger gets one line for each request that the router itself refuses,
	// unless an edge above logs every request. Nil means slog.Default().
	Logger *slog.Logger
	// Claims are proved of each table before it is taken up, as [Router.Prove]
	// does.
	Claims []Claim
}

// A Router hands each request to the one rule that takes it. It is safe for
// concurrent use.
type Router struct {
	opts    Options
	mu      sync.Mutex // serializes Update
	rules   atomic.Pointer[table]
	refused atomic.Uint64 // requests without an honest path
}

var (
	errPath    = errors.New("router: the path has no honest reading")
	errClient  = errors.New("router: client not allowed")
	errTooLong = errors.New("router: request body too large")
	errLimited = errors.New("router: too many requests")
)

// New returns a Router over rules, asked in that order. It refuses, with an
// error that wraps [ErrRules] and names the rules: no rules, rules without
// name or handler, two of one name, rules that can never be reached because
// one before them takes all that they match, a table whose last rule does
// not take everything, and one that breaks one of Options.Claims.
func New(opts Options, rules ...Rule) (*Router, error) {
	if opts.Name == "" {
		opts.Name = "router"
	}
	if opts.Logger == nil {
		opts.Logger = slog.Default()
	}
	opts.Claims = slices.Clone(opts.Claims)
	rt := &Router{opts: opts}
	if err := rt.Update(rules...); err != nil {
		return nil, err
	}
	return rt, nil
}

// Update replaces all rules at once, once the new ones are proved to keep
// Options.Claims. Requests that were taken by the old rules end under them;
// rules of the same name go on counting, with their clients' accounts if their
// Limit is the same. On an error, which is New's, the old rules stay.
func (rt *Router) Update(rules ...Rule) error {
	t, err := compileTable(rules)
	if err != nil {
		return err
	}
	for _, claim := range rt.opts.Claims {
		if err := t.prove(claim); err != nil {
			return fmt.Errorf("%w: claimed: %s: %w", ErrRules, claim, err)
		}
	}
	rt.mu.Lock()
	defer rt.mu.Unlock()
	old := rt.rules.Load()
	for _, c := range t {
		c.stats, c.limiter = new(ruleStats), newLimiter(c.Limit)
		if old == nil {
			continue
		}
		if i := slices.IndexFunc(*old, func(o *compiled) bool { return o.Name == c.Name }); i >= 0 {
			c.stats = (*old)[i].stats
			if (*old)[i].Limit == c.Limit {
				c.limiter = (*old)[i].limiter
			}
		}
	}
	rt.rules.Store(&t)
	return nil
}

// ServeHTTP implements [http.Handler].
func (rt *Router) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	rd := readRequest(r)
	if rd.Refusal != "" {
		rt.refused.Add(1)
		rt.fail(w, r, http.StatusBadRequest, fmt.Errorf("%w: it %s", errPath, rd.Refusal))
		return
	}
	t := *rt.rules.Load()
	v := &view{r: r, rd: &rd, path: rd.Canonical}
	i := t.pick(v)
	rule := t[i]
	rule.stats.requests.Add(1)

	rec := transit.From(r.Context())
	rec.Note("router", rule)
	if status, cause := rule.refuses(v); status != 0 {
		if status == http.StatusForbidden {
			rule.stats.denied.Add(1)
		}
		rt.fail(w, r, status, cause)
		return
	}
	if rule.limiter != nil {
		wait, ok := rule.limiter.enter(transit.Client(r), time.Now())
		if !ok {
			w.Header().Set("Retry-After", strconv.Itoa(seconds(wait)))
			rt.fail(w, r, http.StatusTooManyRequests, fmt.Errorf("%w for rule %q from %s", errLimited, rule.Name, transit.Client(r)))
			return
		}
		leave := sync.OnceFunc(rule.limiter.leave)
		defer leave()
		if !rule.Streams { // else what it limits is streams
			rec.OnStream(leave)
		}
	}
	rule.handler.ServeHTTP(w, rt.forward(w, v, rule, rec, t.agree(v, i)))
}

// refuses returns the status with which the rule answers a request itself, and
// why, or 0.
func (c *compiled) refuses(v *view) (status int, cause error) {
	switch {
	case len(c.Allow) > 0 && !c.allowed().match(v):
		return http.StatusForbidden, fmt.Errorf("%w by rule %q: %s", errClient, c.Name, transit.Client(v.r))
	case c.MaxBody >= 0 && v.r.ContentLength > c.MaxBody:
		return http.StatusRequestEntityTooLarge, fmt.Errorf("%w for rule %q: %d of %d bytes", errTooLong, c.Name, v.r.ContentLength, c.MaxBody)
	}
	return 0, nil
}

// forward returns the request as the rule's handler gets it. The one that came
// is not modified.
func (rt *Router) forward(w http.ResponseWriter, v *view, rule *compiled, rec *transit.Record, asSent bool) *http.Request {
	r := v.r
	out := r
	clone := func() {
		if out == r {
			out = new(http.Request)
			*out = *r
		}
	}
	if rule.terms != (transit.Terms{}) {
		if rec == nil {
			ctx, fresh := transit.With(r.Context())
			out, rec = r.WithContext(ctx), fresh
		}
		rec.Terms = rule.terms
	}
	if rule.When != nil {
		if params := rule.When.bind(v); params != nil {
			out = params.attach(out)
		}
	}
	if rule.MaxBody >= 0 && r.Body != nil && r.Body != http.NoBody {
		clone()
		out.Body = http.MaxBytesReader(w, r.Body, rule.MaxBody)
	}
	if !asSent {
		clone()
		out.URL = rewritten(r.URL, v.rd.Canonical)
	} else if u := target.Keep(r.URL); u != r.URL {
		clone()
		out.URL = u
	}
	return out
}

// rewritten returns u with another path.
func rewritten(u *url.URL, path string) *url.URL {
	c := *u
	c.Path, c.RawPath = path, target.EscapeAll(path)
	return &c
}

// fail answers an error, and logs it where nobody above does.
func (rt *Router) fail(w http.ResponseWriter, r *http.Request, status int, cause error) {
	if rec := transit.From(r.Context()); rec == nil || !rec.Logged {
		rt.opts.Logger.LogAttrs(r.Context(), slog.LevelWarn, "refused", slog.Int("status", status),
			slog.String("method", r.Method), slog.String("target", r.RequestURI), slog.Any("cause", cause))
	}
	transit.Fail(w, r, status, cause)
}

// Wraps returns the handlers of all rules.
func (rt *Router) Wraps() []http.Handler {
	var out []http.Handler
	for _, c := range *rt.rules.Load() {
		out = append(out, c.To)
	}
	return out
}
