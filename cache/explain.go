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
	d := health.Decision{Part: "cache"}
	next := func() { d.Next = []health.Decision{health.Explain(h.next, r)} }
	if why := bypass(r); why != "" {
		d.Verdict, d.Why = "pass", why
		next()
		return d
	}
	var buf [192]byte
	a, url := h.read(r, buf[:0])
	d.Steps = append(d.Steps, fmt.Sprintf("key: %s, https %t, parts %q", url, a.https, a.plan.Key))
	if a.plan.Pass {
		d.Verdict, d.Why = "pass", "rule: "+a.plan.Why
		next()
		return d
	}
	if a.cookie {
		d.Steps = append(d.Steps, "cookie: stored only with public or s-maxage, waits for nobody")
	}
	e := h.cache.store.Get(url, a.fits)
	if e != nil {
		defer h.cache.store.Release(e)
		d.Steps = append(d.Steps, describe(&a, e)...)
	}
	c := a.choose(e, url)
	d.Why = c.why
	switch c.act {
	case serveFresh:
		d.Verdict = "hit"
		return d // nobody else is asked
	case serveInGrace, serveSick:
		d.Verdict = "hit"
	case refuse:
		d.Verdict, d.Why = "refuse", c.why+", and it is not: 504"
		return d
	case passOn:
		d.Verdict = "pass"
	default:
		d.Verdict = "miss"
		if odd := strange(r.Header, h.cache.opts.FillFields); len(odd) > 0 {
			slices.Sort(odd)
			d.Steps = append(d.Steps, "not stored, unless it varies on "+strings.Join(odd, ", "))
		}
		if e != nil && c.act == fetchWhole && a.mayCover(e, a.now) {
			d.Steps = append(d.Steps, "what is stored is served if the backend fails")
		}
	}
	next()
	return d
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
