package cache

import (
	"fmt"
	"net/http"
	"time"

	"github.com/foretier/foretier/cache/internal/law"
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
	if e == nil {
		d.Verdict, d.Why = "miss", "nothing stored matches"
		if h.cache.markers.has(a.keep(url).marker(), a.now) {
			d.Verdict, d.Why = "pass", "not to be stored lately"
		}
		next()
		return d
	}
	defer h.cache.store.Release(e)
	d.Steps = append(d.Steps, fmt.Sprintf("stored: status %d, %d bytes, age %v, fresh for %v more, grace %v, error grace %v",
		e.Status, e.Len(), a.now.Sub(time.Unix(0, e.Born)).Round(time.Millisecond),
		time.Unix(0, e.FreshUntil).Sub(a.now).Round(time.Millisecond), time.Duration(e.Grace), time.Duration(e.ErrorGrace)))
	if e.Purged() != 0 {
		d.Steps = append(d.Steps, "purged "+a.now.Sub(time.Unix(0, e.Purged())).Round(time.Millisecond).String()+" ago")
	}
	switch use := a.use(e); {
	case use == law.Fresh:
		d.Verdict = "hit"
		return d
	case use == law.Grace:
		d.Verdict, d.Why = "hit", "stale within grace, refreshed meanwhile"
	case use == law.Sick && !h.Healthy(r):
		d.Verdict, d.Why = "hit", "stale, and the backend is sick"
	default:
		d.Verdict, d.Why = "miss", "stale"
	}
	next()
	return d
}
