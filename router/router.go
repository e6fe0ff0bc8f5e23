package router

import (
	"cmp"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/foretier/foretier/internal/transit"
	"github.com/foretier/foretier/router/internal/proof"
)

// Options for [New]. The zero value is valid.
type Options struct {
	// Name tells routers apart in reports; empty means "router".
	Name string
	// Logger gets one line for each request that the router refuses or that a
	// handler of this module fails to serve below, unless somebody above logs, as
	// an edge does every request. Nil means slog.Default().
	Logger *slog.Logger
	// Claims are proved of each table before it serves, as [Router.Prove] does.
	Claims []Claim
}

func (o Options) withDefaults() Options {
	o.Name = cmp.Or(o.Name, "router")
	o.Logger = cmp.Or(o.Logger, slog.Default())
	o.Claims = slices.Clone(o.Claims)
	return o
}

// A Router hands each request to the one rule that takes it. It is safe for
// concurrent use.
type Router struct {
	opts    Options
	mu      sync.Mutex // serializes Update
	proved  time.Time  // guarded by mu: when the claims were, of rules
	rules   atomic.Pointer[table]
	changes atomic.Uint64 // of rules; counted once they are there
	refused atomic.Uint64 // requests without an honest path
}

// New returns a Router over rules, asked in that order. It refuses, with an
// error that wraps [ErrRules] and names the rules: no rules, rules without
// name or handler, two of one name, rules that can never be reached because
// one before them takes all that they match, a table whose last rule does
// not take everything, and one that breaks one of Options.Claims.
func New(opts Options, rules ...Rule) (*Router, error) {
	rt := &Router{opts: opts.withDefaults()}
	if err := rt.Update(rules...); err != nil {
		return nil, err
	}
	return rt, nil
}

// Update replaces all rules at once, once the new ones are proved to keep
// Options.Claims. Requests that the old rules have taken are served by them;
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
		c.stats, c.limiter = new(ruleStats), newLimiter(c.Name, c.Limit)
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
	rt.proved = time.Now()
	rt.changes.Add(1)
	return nil
}

// ServeHTTP implements [http.Handler].
func (rt *Router) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	r, rec, made := transit.Enter(r)
	if made {
		defer transit.Log(rt.opts.Logger, rt.opts.Name, r, rec)
	}
	began := time.Now()
	if rec.Front == nil {
		rec.Front = rt
	}
	taught, changes := rec.Lesson.Takes(rt), rt.changes.Load()
	lent := rec.Loan.Takes(rt)
	d := rt.rules.Load().decide(r, (*limiter).enter)
	rule := d.rule
	if rule == nil {
		rt.refused.Add(1)
	} else {
		rule.stats.requests.Add(1)
		rec.Note("router", rule)
		defer rule.stats.ended(began, w, rec)
	}
	switch d.status {
	case 0:
	case http.StatusForbidden:
		rule.stats.denied.Add(1)
	case http.StatusTooManyRequests:
		w.Header().Set("Retry-After", strconv.Itoa(seconds(d.limit.wait)))
	}
	if d.limit.by && rec.Storable == nil { // of a fetch's others would be told
		rule.limiter.tell(w.Header(), d.limit)
	}
	if d.status != 0 {
		transit.Fail(w, r, d.status, d.cause)
		return
	}
	if d.limit.turn != nil {
		defer d.limit.turn.counts(rec, rule.Streams)()
	}
	out := d.forward(w, rec)
	if taught && d.plain() {
		rec.Lesson.Pass(transit.Stage{Generation: &rt.changes, Was: changes, Counts: rule.stats}, rule.To)
	}
	if lent && d.private() {
		rec.Loan.Add(d)
		rec.Loan.Hand(rule.To)
	}
	rule.handler.ServeHTTP(w, out)
}

// Prove returns nil if the claim holds for every request, a [*Counterexample]
// for which it does not, or an error that wraps [ErrOpaque] and names the rule
// and the handler's type where it cannot see.
//
// It walks the classes that the matchers of all rules and of the claim divide
// requests into, by method, scheme, host, header, cookie, query, client and path; of a
// header it knows that it may have several lines, and of cookies and parameters that
// several may have one name. Of paths it tries some of each class: each pattern filled in, alone and
// behind each admin prefix that is resolved away, and each prefix in the forms that
// readings tell apart. A function in [Test], and whether a regular expression in a
// [Path] also takes the other paths of its class, or that of a [HeaderRegexp] a line, is
// tried both ways.
//
// The tier's own answers reach nobody, so claims hold for them: [Maintenance],
// [NotAuthority], [Redirect], the 403 of Allow, http.NotFoundHandler and
// http.RedirectHandler.
//
// Of a handler it looks at what it wraps (Wraps) and, at the bottom, at the
// base paths that a pool adds (BasePaths). What [Rewrite], [StripPrefix] and [AddPrefix]
// in Use make of paths is followed: a claim holds for what comes out, too. Other
// middleware in Use is trusted not to rewrite paths; where that is not so, only a pool's
// Refuse holds.
func (rt *Router) Prove(c Claim) error { return rt.rules.Load().prove(c) }

// check implements checker: the rules were checked with conditions of their own.
func (rt *Router) check(Matcher) error { return nil }

// draw implements drawer.
func (rt *Router) draw(c *chart, out *proof.Handler, _ []http.Handler) {
	out.Table = c.table(rt.rules.Load())
}

// Wraps returns the handlers of all rules.
func (rt *Router) Wraps() []http.Handler {
	var out []http.Handler
	for _, c := range *rt.rules.Load() {
		out = append(out, c.To)
	}
	return out
}
