package balancer

import (
	"net/http"
	"time"

	"github.com/foretier/foretier/health"
)

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
