package balancer

import (
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httputil"
	"strconv"

	"github.com/foretier/foretier/internal/target"
	"github.com/foretier/foretier/internal/transit"
)

// newReverse returns the standard library's reverse proxy above the pool, which
// brings trailers, 1xx responses, upgrades and flushing of streams.
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
		p.serveBody(w, r)
		return
	}
	p.reverse.ServeHTTP(newAnswering(w, r, nil), r)
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

// rewrite makes the request that goes out.
func (p *proxy) rewrite(pr *httputil.ProxyRequest) {
	forward(pr)
	p.hop.sign(pr.Out.Header, pr.In)
	if n, counts := maxForwards(pr.In); counts {
		pr.Out.Header["Max-Forwards"] = []string{strconv.FormatUint(n-1, 10)}
	}
	if !pr.In.ProtoAtLeast(1, 1) { // which has no upgrades (RFC 9110, section 7.8)
		pr.Out.Header.Del("Upgrade")
		pr.Out.Header.Del("Connection")
	}
	// ReverseProxy has dropped what Go cannot parse of the query. Nothing here
	// judges parameters, and the backend may well read them.
	pr.Out.URL.RawQuery = pr.In.URL.RawQuery
	pr.Out.URL = target.Preserve(pr.Out.URL)
	// The values of trailers arrive with the end of the body, in In's map.
	pr.Out.Trailer = pr.In.Trailer
	if p.opts.Rewrite != nil {
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
