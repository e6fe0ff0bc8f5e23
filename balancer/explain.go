package balancer

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/foretier/foretier/balancer/internal/pool"
	"github.com/foretier/foretier/health"
)

// errLast means that the request goes no further because it says so.
var errLast = errors.New("its Max-Forwards is 0")

// admit returns why r, as it came, is answered by the pool, or nil.
func (p *proxy) admit(r *http.Request) error {
	if p.hop.seen(r.Header) {
		return ErrLoop
	}
	if n, counts := maxForwards(r); counts && n == 0 {
		return errLast
	}
	return nil
}

// Explain tells which backend r would go to now, or with what it would be
// answered, or for what it would wait, and how each backend stands. Where a
// policy draws a few at random, it tells one draw.
func (p *proxy) Explain(r *http.Request) health.Decision {
	x := p.newExchange(r)
	x.prepare()
	c, d := p.view.Explain(&x.ask, time.Now())
	d.Part = "pool " + p.opts.Name
	err := p.admit(r)
	if err == nil {
		err = p.refuses(r)
	}
	switch {
	case err == ErrLoop:
		d.Verdict, d.Why = "508", "the request has been here before, says its "+p.hop.field
	case err == errLast:
		d.Verdict, d.Why = "answered here", err.Error()
	case err == ErrRefused:
		d.Verdict, d.Why = "refused", "the pool's guard matches"
	case err != nil:
		d.Verdict, d.Why = "503", err.Error()
	case c.Entry != nil && c.Err == nil && p.guards(x.request(r.Context(), wayTo(c.Entry))):
		d.Verdict, d.Why = "refused", "the pool's guard matches what "+c.Entry.Name+" would get"
	}
	return d
}

// guards reports whether the pool's guard refuses r.
func (p *proxy) guards(r *http.Request) bool { return p.opts.Refuse != nil && p.opts.Refuse.Match(r) }

// picked tells [Trace.Picked] of a pick.
func (x *exchange) picked(c pool.Choice, now time.Time) {
	trace := x.pool.opts.Trace
	if trace == nil || trace.Picked == nil {
		return
	}
	d := c.Decision(x.pool.opts.Name, now)
	d.Verdict, d.Why = c.Entry.Name, c.Because()
	if n := len(x.ask.Tried); n > 1 {
		d.Why += fmt.Sprintf("; attempt %d", n)
	}
	trace.Picked(x.req.Context(), d)
}
