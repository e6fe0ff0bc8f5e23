package router

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/foretier/foretier/internal/target"
	"github.com/foretier/foretier/internal/transit"
	"github.com/foretier/foretier/router/internal/proof"
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
	d := rt.rules.Load().decide(r, (*limiter).enter)
	rec := transit.From(r.Context())
	rule := d.rule
	if rule == nil {
		rt.refused.Add(1)
	} else {
		rule.stats.requests.Add(1)
		rec.Note("router", rule)
	}
	switch d.status {
	case 0:
	case http.StatusForbidden:
		rule.stats.denied.Add(1)
	case http.StatusTooManyRequests:
		w.Header().Set("Retry-After", strconv.Itoa(seconds(d.wait)))
	}
	if d.status != 0 {
		rt.fail(w, r, d.status, d.cause)
		return
	}
	if rule.limiter != nil {
		leave := sync.OnceFunc(rule.limiter.leave)
		defer leave()
		if !rule.Streams { // else what it limits is streams
			rec.OnStream(leave)
		}
	}
	rule.handler.ServeHTTP(w, d.forward(w, rec))
}

// A decision is what a table makes of a request: serving acts on it, Explain
// renders it.
type decision struct {
	view
	readings readings
	table    table
	index    int
	rule     *compiled     // the table's at index; nil if no rule is asked
	status   int           // with which the router answers by itself, or 0
	cause    error         // of status
	wait     time.Duration // until a limit would let it through
	asSent   bool          // the target goes on as it was sent, else the canonical path
}

// choose returns what t makes of r without a look at what its rule demands.
func (t table) choose(r *http.Request) *decision {
	d := &decision{readings: readRequest(r), table: t}
	d.view = view{r: r, rd: &d.readings, path: d.readings.Canonical}
	if d.rd.Refusal != "" {
		d.status, d.cause = http.StatusBadRequest, fmt.Errorf("%w: it %s", errPath, d.rd.Refusal)
		return d
	}
	d.index = t.pick(&d.view)
	d.rule = t[d.index]
	return d
}

// decide returns what t makes of r. Of a limit it asks by allowed, which may count
// the request.
func (t table) decide(r *http.Request, allowed func(*limiter, netip.Addr, time.Time) (time.Duration, bool)) *decision {
	d := t.choose(r)
	rule := d.rule
	switch {
	case rule == nil:
	case len(rule.Allow) > 0 && !rule.allowed().match(&d.view):
		d.status, d.cause = http.StatusForbidden, fmt.Errorf("%w by rule %q: %s", errClient, rule.Name, transit.Client(r))
	case rule.MaxBody >= 0 && r.ContentLength > rule.MaxBody:
		d.status, d.cause = http.StatusRequestEntityTooLarge, fmt.Errorf("%w for rule %q: %d of %d bytes", errTooLong, rule.Name, r.ContentLength, rule.MaxBody)
	case rule.limiter != nil:
		var ok bool
		if d.wait, ok = allowed(rule.limiter, transit.Client(r), time.Now()); !ok {
			d.status, d.cause = http.StatusTooManyRequests, fmt.Errorf("%w for rule %q from %s", errLimited, rule.Name, transit.Client(r))
		}
	}
	if d.status == 0 {
		d.asSent = t.agree(&d.view, d.index)
	}
	return d
}

// forward returns the request as the rule's handler gets it. The one that came
// is not modified.
func (d *decision) forward(w http.ResponseWriter, rec *transit.Record) *http.Request {
	r, rule := d.r, d.rule
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
		if params := rule.When.bind(&d.view); params != nil {
			out = params.attach(out)
		}
	}
	if rule.MaxBody >= 0 && r.Body != nil && r.Body != http.NoBody {
		clone()
		out.Body = http.MaxBytesReader(w, r.Body, rule.MaxBody)
	}
	if !d.asSent {
		clone()
		out.URL = rewritten(r.URL, d.rd.Canonical)
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

// check implements checker: the rules were checked with conditions of their own.
func (rt *Router) check(Matcher) error { return nil }

// draw implements drawer.
func (rt *Router) draw(c *chart, out *proof.Handler, _ int) { out.Table = c.table(rt.rules.Load()) }

// Wraps returns the handlers of all rules.
func (rt *Router) Wraps() []http.Handler {
	var out []http.Handler
	for _, c := range *rt.rules.Load() {
		out = append(out, c.To)
	}
	return out
}
