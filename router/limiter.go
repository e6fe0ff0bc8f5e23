package router

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/foretier/foretier/health"
	"github.com/foretier/foretier/internal/transit"
)

// A Limiter is a [Limit] as middleware, which holds where it is put:
//
//   - in [Rule.Use], as one of several, or behind who has found out who asks:
//     Use: {staff.Handler, limiter.Handler} with a [Basic] whose Header By names;
//   - around a pool, below a cache, pages.Handler(limiter.Handler(apps)): there what is
//     answered from the cache counts nothing and asks no Store, and answers do not say
//     what is left.
//
// It is safe for concurrent use. All that it wraps has its accounts in common.
type Limiter struct {
	limit    *limiter
	requests atomic.Uint64
}

// NewLimiter returns a Limiter, or an error that says what of the limit is wrong. Its name
// tells it from others in answers, reports and at a Store, as a rule's does.
func NewLimiter(name string, limit Limit) (*Limiter, error) {
	if name == "" {
		return nil, errors.New("router: limiter: it has no name")
	}
	if err := limit.check(); err != nil {
		return nil, fmt.Errorf("router: limiter %s: %w", name, err)
	}
	l := &Limiter{limit: newLimiter(name, limit)}
	if l.limit == nil {
		return nil, fmt.Errorf("router: limiter %s: Limit: it bounds nothing: want a Rate or an InFlight", name)
	}
	return l, nil
}

// Handler returns next with its requests limited. The returned handler also has the
// methods Explain, Healthy and Wraps, by which a layer above asks what lies below.
func (l *Limiter) Handler(next http.Handler) http.Handler { return &limited{l, next} }

// Report implements [health.Reporter].
func (l *Limiter) Report() health.Report {
	return health.Report{Kind: "limit", Name: l.limit.name, State: health.Up, Metrics: []health.Metric{
		health.Count("requests_total", "Requests that the limit has judged.", l.requests.Load()),
		health.Count("requests_refused_total", "Requests beyond the limit.", l.limit.limited.Load()),
	}}
}

type limited struct {
	*Limiter
	next http.Handler
}

// ServeHTTP implements [http.Handler].
func (l *limited) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	l.requests.Add(1)
	v := l.limit.enter(r, time.Now())
	rec := transit.From(r.Context())
	if v.by && rec.Storable == nil { // of a fetch's others would be told
		l.limit.tell(w.Header(), v)
	}
	if !v.ok {
		w.Header().Set("Retry-After", strconv.Itoa(seconds(v.wait)))
		transit.Fail(w, r, http.StatusTooManyRequests, fmt.Errorf("%w for limit %q from %s", errLimited, l.limit.name, transit.Client(r)))
		return
	}
	if v.turn != nil {
		defer v.turn.counts(rec, rec.Terms.Streams)()
	}
	l.next.ServeHTTP(w, r)
}

// Wraps returns whose requests are limited.
func (l *limited) Wraps() []http.Handler { return []http.Handler{l.next} }

// Healthy reports whether that could serve r.
func (l *limited) Healthy(r *http.Request) bool { return health.Healthy(l.next, r) }

// Explain implements [health.Explainer]. It counts nothing.
func (l *limited) Explain(r *http.Request) health.Decision {
	v := l.limit.allows(r, time.Now())
	d := health.Decision{Part: "limit " + l.limit.name, Verdict: "lets it through"}
	switch {
	case !v.ok:
		d.Verdict, d.Why = "429", fmt.Sprintf("for another %v", v.wait.Round(time.Millisecond))
		return d
	case v.by:
		d.Why = l.limit.explain(v)
	}
	d.Next = []health.Decision{health.Explain(l.next, r)}
	return d
}
