package balancer

import (
	"errors"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/foretier/foretier/health"
	"github.com/foretier/foretier/internal/transit"
)

// Explain tells which backend r would go to now, or with what it would be
// answered, or for what it would wait, and how each backend stands. Where a
// policy draws a few at random, it tells one draw. It decides by the request that
// would go out, so it calls [Options.Rewrite].
func (p *proxy) Explain(r *http.Request) health.Decision {
	out, err := r, p.admit(r)
	if err == nil {
		out, err = p.outgoing(r)
	}
	if err == nil {
		err = p.refuses(out)
	}
	x := p.newExchange(out)
	x.prepare()
	c, d := p.view.Explain(&x.ask, time.Now())
	d.Part = "pool " + p.opts.Name
	switch {
	case err == ErrLoop:
		d.Verdict, d.Why = "508", "the request has been here before, says its "+p.hop.field
	case err == errLast:
		d.Verdict, d.Why = "answered here", err.Error()
	case err == ErrRefused:
		d.Verdict, d.Why = "refused", "the pool's guard matches"
	case err != nil:
		d.Verdict, d.Why = strconv.Itoa(statusOf(err, r)), err.Error()
	case c.Entry != nil && c.Err == nil && p.guards(x.request(r.Context(), wayTo(c.Entry))):
		d.Verdict, d.Why = "refused", "the pool's guard matches what "+c.Entry.Name+" would get"
	}
	return d
}

// outgoing returns r as RoundTrip would get it, or why that would get nothing. It
// goes the way that is served and ends before a backend.
func (p *proxy) outgoing(r *http.Request) (out *http.Request, err error) {
	asked, _ := transit.Aside(r)
	if r.Body != nil && r.Body != http.NoBody {
		asked.Body = io.NopCloser(r.Body) // whoever serves it reads and closes it
	}
	end := *p.reverse
	end.Transport = caught(func(made *http.Request) { out = made.WithContext(asked.Context()) })
	end.ErrorHandler = func(_ http.ResponseWriter, _ *http.Request, why error) { err = why }
	end.ServeHTTP(unheard{}, asked)
	if out == nil {
		return r, err
	}
	return out, nil
}

// caught is a way on which requests get no further.
type caught func(*http.Request)

var errCaught = errors.New("balancer: it is only asked about")

// RoundTrip implements [http.RoundTripper].
func (c caught) RoundTrip(r *http.Request) (*http.Response, error) {
	c(r)
	return nil, errCaught
}

// unheard is for answers that nobody waits for.
type unheard struct{}

func (unheard) Header() http.Header         { return http.Header{} }
func (unheard) Write(p []byte) (int, error) { return len(p), nil }
func (unheard) WriteHeader(int)             {}
