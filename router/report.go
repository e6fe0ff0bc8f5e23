package router

import (
	"fmt"
	"iter"
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/foretier/foretier/health"
	"github.com/foretier/foretier/internal/transit"
)

// ruleStats outlives a rule: the next one of its name goes on counting.
type ruleStats struct {
	requests atomic.Uint64
	denied   atomic.Uint64
}

// LogValue implements [slog.LogValuer]: the rule's name.
func (c *compiled) LogValue() slog.Value { return slog.StringValue(c.Name) }

// Report implements [health.Reporter]: a part for each rule.
func (rt *Router) Report() health.Report {
	out := health.Report{Kind: "router", Name: rt.opts.Name, State: health.Up, Metrics: []health.Metric{
		health.Count("refused_total", "Requests whose path has no honest reading.", rt.refused.Load()),
	}}
	for _, c := range *rt.rules.Load() {
		part := health.Report{Kind: "rule", Name: c.Name, State: health.Up, Metrics: []health.Metric{
			health.Count("requests_total", "Requests that the rule took.", c.stats.requests.Load()),
		}}
		if len(c.Allow) > 0 {
			part.Metrics = append(part.Metrics, health.Count("denied_total", "Requests of clients that the rule does not allow.", c.stats.denied.Load()))
		}
		if c.limiter != nil {
			part.Metrics = append(part.Metrics, health.Count("limited_total", "Requests beyond the rule's Limit.", c.limiter.limited.Load()))
		}
		for h := range below(c.To) {
			if f, ok := h.(*fallback); ok {
				part.Parts = append(part.Parts, f.Report())
			}
		}
		out.Parts = append(out.Parts, part)
	}
	return out
}

// below yields h and the handlers that it wraps, as far as they show them.
func below(h http.Handler) iter.Seq[http.Handler] {
	return func(yield func(http.Handler) bool) { walk(h, yield, 0) }
}

// maxDepth ends the walk down a chain that wraps itself.
const maxDepth = 32

func walk(h http.Handler, yield func(http.Handler) bool, depth int) bool {
	if !yield(h) {
		return false
	}
	if wrapper, ok := h.(interface{ Wraps() []http.Handler }); ok && depth < maxDepth {
		for _, inner := range wrapper.Wraps() {
			if !walk(inner, yield, depth+1) {
				return false
			}
		}
	}
	return true
}

// Explain says which rule takes r and why those before it do not, and asks
// that rule's handler what it would do. It serves nothing and counts nothing.
func (rt *Router) Explain(r *http.Request) health.Decision {
	d := health.Decision{Part: rt.opts.Name}
	rd := readRequest(r)
	if rd.Refusal != "" {
		d.Verdict, d.Why = "400", "the path "+rd.Refusal
		return d
	}
	t := *rt.rules.Load()
	v := &view{r: r, rd: &rd, path: rd.Canonical}
	i := t.pick(v)
	rule := t[i]
	for _, c := range t[:i] {
		d.Steps = append(d.Steps, fmt.Sprintf("rule %q does not match: %s", c.Name, c.words))
	}
	d.Verdict, d.Why = fmt.Sprintf("rule %q", rule.Name), rule.words+" matches "+rd.Canonical
	if rule.When == nil {
		d.Why = "it takes what the others leave"
	}
	if status, cause := rule.refuses(v); status != 0 {
		d.Steps = append(d.Steps, fmt.Sprintf("%d: %v", status, cause))
		return d
	}
	if wait, ok := rule.limiter.allows(transit.Client(r), time.Now()); !ok {
		d.Steps = append(d.Steps, fmt.Sprintf("429: the rule's Limit, for another %v", wait.Round(time.Millisecond)))
		return d
	}
	if !t.agree(v, i) {
		d.Steps = append(d.Steps, fmt.Sprintf("readings of the path fall under several rules: %q goes on", rd.Canonical))
	}
	d.Next = []health.Decision{health.Explain(rule.To, rt.forward(&sink{}, v, rule, nil, t.agree(v, i)))}
	return d
}

// Healthy reports whether the handler of the rule that takes r could serve it.
func (rt *Router) Healthy(r *http.Request) bool {
	rd := readRequest(r)
	t := *rt.rules.Load()
	return rd.Refusal == "" && health.Healthy(t[t.pick(&view{r: r, rd: &rd, path: rd.Canonical})].To, r)
}
