package cache

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/foretier/foretier/cache/internal/memory"
	"github.com/foretier/foretier/health"
)

// Explain implements [health.Explainer].
func (h *handler) Explain(r *http.Request) health.Decision {
	out := health.Decision{Part: "cache"}
	var a ask
	url, e, d := h.look(&a, r, nil)
	if e != nil {
		defer h.cache.store.Release(e)
	}
	out.Verdict, out.Why = verdict(d)
	if d.act != passUnseen {
		out.Steps = append(out.Steps, fmt.Sprintf("key: %s, https %t, parts %q", url, a.https, a.plan.Key))
		out.Steps = append(out.Steps, steps(&a, e, d)...)
	}
	if d.act != serveFresh && d.act != refuse { // else nobody else is asked
		out.Next = []health.Decision{health.Explain(h.next, r)}
	}
	return out
}

// verdict names what is done, and says why.
func verdict(d decision) (name, why string) {
	switch d.act {
	case serveFresh, serveInGrace, serveSick:
		return "hit", d.why
	case refuse:
		return "refuse", d.why + ", and it is not: 504"
	case passByRule:
		return "pass", "rule: " + d.why
	case passUnseen, passOn:
		return "pass", d.why
	}
	return "miss", d.why
}

// steps says what is known of a request that is looked up.
func steps(a *ask, e *memory.Entry, d decision) (out []string) {
	if a.cookie && d.act != passByRule {
		out = append(out, "cookie: stored only with public or s-maxage, waits for nobody")
	}
	if e != nil {
		out = append(out, describe(a, e)...)
	}
	if d.act != fetchWhole && d.act != fetchPart {
		return out
	}
	if odd := strange(a.r.Header, a.site.cache.opts.FillFields); len(odd) > 0 {
		slices.Sort(odd)
		out = append(out, "not stored, unless it varies on "+strings.Join(odd, ", "))
	}
	if e != nil && d.act == fetchWhole && a.mayCover(e, a.now) {
		out = append(out, "what is stored is served if the backend fails")
	}
	return out
}

// describe says what is known of a stored response.
func describe(a *ask, e *memory.Entry) []string {
	left := func(nanos int64) time.Duration { return time.Unix(0, nanos).Sub(a.now).Round(time.Millisecond) }
	out := []string{fmt.Sprintf("stored: status %d, %d bytes, age %v, fresh for %v more, grace %v, error grace %v",
		e.Status, e.Len(), -left(e.Born), left(e.FreshUntil), time.Duration(e.Grace), time.Duration(e.ErrorGrace))}
	if e.Purged() != 0 {
		out = append(out, fmt.Sprintf("purged %v ago", -left(e.Purged())))
	}
	if e.Resting(a.now) {
		out = append(out, "asking for it has just failed")
	}
	return out
}
