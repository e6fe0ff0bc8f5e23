package router

import (
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/foretier/foretier/health"
)

// Report implements [health.Reporter]: a part for each rule. Its events are the claims,
// with when they were proved last, which is when the rules were set.
func (rt *Router) Report() health.Report {
	out := health.Report{Kind: "router", Name: rt.opts.Name, State: health.Up, Metrics: []health.Metric{
		health.Count("requests_refused_total", "Requests whose path has no honest reading.", rt.refused.Load()),
	}}
	rt.mu.Lock()
	proved := rt.proved
	rt.mu.Unlock()
	for _, claim := range rt.opts.Claims {
		out.Events = append(out.Events, health.Event{Time: proved, Text: "proved: " + claim.String()})
	}
	for _, c := range *rt.rules.Load() {
		part := health.Report{Kind: "rule", Name: c.Name, State: health.Up, Metrics: []health.Metric{
			health.Count("requests_total", "Requests that the rule took.", c.stats.requests.Load()),
			health.Distribution("request_seconds", "Request durations, until the handler had written its answer.", &c.stats.took),
		}}
		part.Metrics = append(part.Metrics, c.stats.metrics()...)
		if len(c.Allow) > 0 {
			part.Metrics = append(part.Metrics, health.Count("requests_denied_total", "Requests of clients that the rule does not allow.", c.stats.denied.Load()))
		}
		if c.limiter != nil {
			part.Metrics = append(part.Metrics, health.Count("requests_limited_total", "Requests beyond the rule's Limit.", c.limiter.limited.Load()))
		}
		for h := range health.Chain(c.To) {
			if f, ok := h.(*fallback); ok {
				r := f.Report()
				if n := len(part.Parts); n > 0 {
					r.Name += " " + strconv.Itoa(n+1) // the first keeps its name
				}
				part.Parts = append(part.Parts, r)
			}
		}
		out.Parts = append(out.Parts, part)
	}
	return out
}

// Explain says which rule takes r and why those before it do not, and asks that
// rule's middleware and handler what they would do. It serves nothing and counts
// nothing.
func (rt *Router) Explain(r *http.Request) health.Decision {
	out := health.Decision{Part: rt.opts.Name}
	d := rt.rules.Load().decide(r, (*limiter).allows)
	if d.rule == nil {
		out.Verdict, out.Why = strconv.Itoa(d.status), "the path "+d.rd.Refusal
		return out
	}
	for _, c := range d.table[:d.index] {
		out.Steps = append(out.Steps, fmt.Sprintf("rule %q does not match: %s", c.Name, c.words))
	}
	out.Verdict, out.Why = fmt.Sprintf("rule %q", d.rule.Name), d.rule.words+" matches "+d.rd.Canonical
	if d.rule.When == nil {
		out.Why = "it takes what the others leave"
	}
	switch {
	case d.status == http.StatusTooManyRequests:
		out.Steps = append(out.Steps, fmt.Sprintf("%d: the rule's Limit, for another %v", d.status, d.limit.wait.Round(time.Millisecond)))
		return out
	case d.status != 0:
		out.Steps = append(out.Steps, fmt.Sprintf("%d: %v", d.status, d.cause))
		return out
	}
	if d.limit.by && d.rule.limiter.named() {
		out.Steps = append(out.Steps, d.rule.limiter.explain(d.limit))
	}
	if !d.asSent() {
		out.Steps = append(out.Steps, fmt.Sprintf("readings of the path fall under several rules: %q goes on", d.rd.Canonical))
	}
	out.Next = []health.Decision{health.Explain(d.rule.handler, d.aside())}
	return out
}

// Healthy reports whether the handler of the rule that takes r could serve it.
func (rt *Router) Healthy(r *http.Request) bool {
	d := rt.rules.Load().choose(r)
	return d.rule != nil && health.Healthy(d.rule.To, d.aside())
}
