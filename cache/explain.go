package cache

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/foretier/foretier/cache/internal/law"
	"github.com/foretier/foretier/cache/internal/memory"
	"github.com/foretier/foretier/health"
	"github.com/foretier/foretier/internal/transit"
)

// Explain implements [health.Explainer]. Who lies below is asked about what it
// would be sent: the request of the fetch, if there is to be one.
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
		if a.bent() {
			out.Steps = append(out.Steps, fmt.Sprintf("that URL stands for this one: the last response of the path had No-Vary-Search: %s", a.plan.Query.modulo.Text))
		}
		out.Steps = append(out.Steps, steps(&a, e, d)...)
	}
	switch d.act {
	case refuse:
	case passUnseen, passByRule, passOn:
		out.Next = []health.Decision{health.Explain(h.next, r)}
	default:
		h.explainFetch(&out, a.detached(url), e, d)
	}
	return out
}

// explainFetch tells what becomes of the fetch for a, or of the refresh of e, if
// there is one.
func (h *handler) explainFetch(out *health.Decision, a *ask, e *memory.Entry, d decision) {
	defer a.release()
	var q question
	if d.act == fetchWhole || d.act == fetchPart {
		q = a.question(e, d)
	} else {
		if _, _, may := nearEnd(e, a.now); d.act == serveFresh && !may {
			return
		}
		if !e.RefreshDue(a.now) || len(h.refreshing) == cap(h.refreshing) {
			out.Steps = append(out.Steps, "not refreshed: it is being so, has just failed to be, or too many others are")
			return
		}
		if d.act == serveFresh {
			out.Steps = append(out.Steps, "near its end: whether it is refreshed already is drawn")
		}
		q = a.refreshing(e)
	}
	if h.flights.underWay(&q) {
		out.Steps = append(out.Steps, "waits for a fetch that is under way, and asks for itself if that is for one client alone")
		return
	}
	ctx, _ := transit.Detach(a.r.Context())
	q.ask = a.clone(ctx)
	out.Next = []health.Decision{health.Explain(h.next, q.request(ctx))}
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
		line := "cookie: stored only with public or s-maxage"
		if !a.plan.Shared {
			line += ", waits for nobody"
		}
		out = append(out, line)
	}
	if e != nil {
		out = append(out, describe(a, e)...)
	}
	if d.act != fetchWhole && d.act != fetchPart {
		return out
	}
	if a.auth {
		out = append(out, "authorization: stored only with public, s-maxage or must-revalidate, waits for nobody")
	}
	if !a.site.cache.opts.IgnoreNoStore && law.NoStore(a.r.Header["Cache-Control"]) {
		out = append(out, "not stored, as the request wants it")
	}
	if odd := strange(a.r, a.site.cache.opts.FillFields); len(odd) > 0 {
		slices.Sort(odd)
		out = append(out, "not stored, unless it varies on "+strings.Join(odd, ", "))
	}
	if a.site.cache.second != nil && d.act == fetchWhole && (e == nil || e.Flags&memory.Validate == 0) {
		out = append(out, "the second level is asked first")
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
	if e.Asked == restored {
		out = append(out, "read from a snapshot")
	}
	if as := a.site.cache.coders.choose(e, a.r.Header); as.form != e || !as.final() {
		line := "sent as it is"
		if as.form != e {
			line = fmt.Sprintf("sent in %s, %d bytes", as.form.Field("Content-Encoding"), as.form.Len())
		}
		if !as.final() {
			line += ", until there is a form in " + a.site.cache.coders.names[as.better]
		}
		out = append(out, line)
	}
	if e.Purged() != 0 {
		out = append(out, fmt.Sprintf("purged %v ago", -left(e.Purged())))
	}
	if e.Resting(a.now) {
		out = append(out, "asking for it has just failed")
	}
	return out
}
