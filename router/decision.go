package router

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/foretier/foretier/internal/target"
	"github.com/foretier/foretier/internal/transit"
)

var (
	errPath    = errors.New("router: the path has no honest reading")
	errClient  = errors.New("router: client not allowed")
	errTooLong = errors.New("router: request body too large")
	errLimited = errors.New("router: too many requests")
)

// A decision is what a table makes of a request: serving acts on it, Explain
// renders it.
type decision struct {
	finding
	// Memory for what goes on, where that is not what came:
	out    http.Request
	params paramContext
}

// A finding is what is decided, which may be copied.
type finding struct {
	view
	readings readings
	table    table
	index    int
	rule     *compiled // the table's at index; nil if no rule is asked
	status   int       // with which the router answers by itself, or 0
	cause    error     // of status
	limit    verdict   // of the rule's Limit
}

// choose returns what t makes of r without a look at what its rule demands.
func (t table) choose(r *http.Request) *decision {
	d := decisions.Get().(*decision)
	d.readings, d.table = readRequest(r), t
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
func (t table) decide(r *http.Request, allowed func(*limiter, *http.Request, time.Time) verdict) *decision {
	d := t.choose(r)
	rule := d.rule
	switch {
	case rule == nil:
	case len(rule.Allow) > 0 && !rule.allowed().match(&d.view):
		d.status, d.cause = http.StatusForbidden, fmt.Errorf("%w by rule %q: %s", errClient, rule.Name, transit.Client(r))
	case rule.MaxBody >= 0 && r.ContentLength > rule.MaxBody:
		d.status, d.cause = http.StatusRequestEntityTooLarge, fmt.Errorf("%w for rule %q: %d of %d bytes", errTooLong, rule.Name, r.ContentLength, rule.MaxBody)
	case rule.limiter != nil:
		if d.limit = allowed(rule.limiter, r, time.Now()); !d.limit.ok {
			d.status, d.cause = http.StatusTooManyRequests, fmt.Errorf("%w for rule %q from %s", errLimited, rule.Name, transit.Client(r))
		}
	}
	return d
}

// asSent reports whether the target goes on as it was sent, else the canonical path
// does. It asks matchers, so whoever holds a turn must be sure to give it back.
func (d *decision) asSent() bool { return d.table.agree(&d.view, d.index) }

// plain reports whether every request without a body that has this one's method,
// host and target gets the same from the rule as long as the table is the same.
// It is asked once all matchers have been: see asSent.
func (d *decision) plain() bool {
	rule := d.rule
	return !d.rd.beyond && len(rule.Allow) == 0 && rule.limiter == nil && len(rule.Use) == 0
}

var decisions = sync.Pool{New: func() any { return new(decision) }}

// Reuse implements [transit.Reusable].
func (d *decision) Reuse() {
	*d = decision{}
	decisions.Put(d)
}

// private reports whether nobody but the tier's own functions has been shown the request.
// It is asked once all matchers have been: see asSent.
func (d *decision) private() bool {
	rule := d.rule
	return !d.rd.shown && rule.limiter == nil && len(rule.Use) == 0
}

// forward returns the request as the rule's handler gets it. The one that came
// is not modified.
func (d *decision) forward(w http.ResponseWriter, rec *transit.Record) *http.Request {
	r, rule := d.r, d.rule
	out := r
	clone := func() {
		if out == r {
			out = &d.out
			*out = *r
		}
	}
	rec.Rule = rule.Name
	if rule.terms != (transit.Terms{}) {
		rec.Terms = rule.terms
	}
	if rule.When != nil {
		if found := rule.When.bind(&d.view); found.pattern != nil {
			out = &d.out
			found.attach(out, r, &d.params)
		}
	}
	if rule.MaxBody >= 0 && r.Body != nil && r.Body != http.NoBody {
		clone()
		out.Body = http.MaxBytesReader(w, r.Body, rule.MaxBody)
	}
	asSent := d.asSent()
	if rec.Choice = max(rec.Choice, transit.ByTheRest); d.rd.byQuery {
		rec.Choice = transit.ByQuery
	}
	if !asSent {
		clone()
		out.URL = rewritten(r.URL, d.rd.Canonical)
	} else if u := target.Preserve(r.URL); u != r.URL {
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

// aside returns the request as the rule's handler would get it, for a question
// about it.
func (d *decision) aside() *http.Request {
	asked := &decision{finding: d.finding}
	var rec *transit.Record
	asked.r, rec = transit.Aside(d.r)
	return asked.forward(&sink{}, rec)
}
