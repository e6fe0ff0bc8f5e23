package balancer

import (
	"context"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httputil"

	"github.com/foretier/foretier/internal/target"
	"github.com/foretier/foretier/internal/transit"
)

// newReverse returns the standard library's reverse proxy above the pool, for what
// [proxy.pass] leaves to it.
func (p *proxy) newReverse() *httputil.ReverseProxy {
	return &httputil.ReverseProxy{
		Transport:    p,
		Rewrite:      p.rewrite,
		ErrorHandler: p.fail,
		BufferPool:   &buffers,
		// What it would say is said with its cause by broke and fail.
		ErrorLog: log.New(io.Discard, "", 0),
	}
}

// ServeHTTP proxies r to a backend. Its path and query go on as they were sent,
// behind the path of the backend's URL; of what a path must not hold raw (RFC
// 3986, section 3.3), such as a brace, each byte is escaped. What cannot be served
// is answered with 403, 408, 411, 413, 429, 502, 503, 504 or 508; a client that went
// away is logged as 499.
func (p *proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	r, rec, made := transit.Enter(r)
	if made {
		defer transit.Log(p.opts.Logger, p.opts.Name, r, rec)
	}
	lent := rec.Loan.Takes(p.self)
	switch err := p.admit(r); err {
	case nil:
	case errLast:
		answerLast(w, r)
		return
	default:
		p.fail(w, r, err)
		return
	}
	if r.Body != nil && r.Body != http.NoBody {
		p.serveBody(w, r, lent)
		return
	}
	p.pass(w, r, nil, lent)
}

// pass serves r, which was admitted, by the way that it takes: the pool's own, or the
// standard library's, which has upgrades and what [Options.Rewrite] is given. coming
// is its body, nil if it has none. lent says that its memory is to come back, if it may.
func (p *proxy) pass(w http.ResponseWriter, r *http.Request, coming *coming, lent bool) {
	if p.opts.Rewrite == nil && r.Header["Upgrade"] == nil && !p.standard {
		p.direct(w, r, coming, lent)
		return
	}
	if coming == nil {
		p.reverse.ServeHTTP(newAnswering(w, r, nil), r)
		return
	}
	in := r.WithContext(context.WithValue(r.Context(), uploadsKey{}, &coming.uploads))
	in.Body = coming.body
	p.reverse.ServeHTTP(newAnswering(w, r, coming.watched()), in)
}

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

// rewrite makes the request that goes out. What ReverseProxy has made of the header is
// left aside, so that the pool's own way and this send the same.
func (p *proxy) rewrite(pr *httputil.ProxyRequest) {
	pr.Out.Header = make(http.Header, len(pr.In.Header)+8)
	p.onward(pr.Out.Header, pr.In)
	// ReverseProxy has dropped what Go cannot parse of the query. Nothing here
	// judges parameters, and the backend may well read them.
	pr.Out.URL.RawQuery = pr.In.URL.RawQuery
	pr.Out.URL = target.Preserve(pr.Out.URL)
	// The values of trailers arrive with the end of the body, in In's map.
	pr.Out.Trailer = pr.In.Trailer
	if p.opts.Rewrite != nil {
		pr.Out.Header = pr.Out.Header.Clone() // it may change values
		p.opts.Rewrite(pr)
	}
	transit.From(pr.In.Context()).Sent = pr.Out.Header
}

// fail answers a request that got no response.
func (p *proxy) fail(w http.ResponseWriter, r *http.Request, err error) {
	if a, ok := w.(*answering); ok {
		a.own = true
	}
	if p.opts.Error != nil {
		rec := transit.From(r.Context())
		rec.Answered(statusOf(err, r)) // or what Error makes of it
		rec.Fail(err)
		p.opts.Error(w, r, err)
		return
	}
	if errors.Is(err, errTurn) {
		w.Header().Set("Retry-After", "1")
	} else if errors.Is(err, ErrBusy) {
		w.Header().Set("Retry-After", "5")
	}
	transit.Fail(w, r, statusOf(err, r), err)
}
