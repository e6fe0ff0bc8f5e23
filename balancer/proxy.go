package balancer

import (
	"log/slog"
	"net/http"
	"net/http/httputil"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/foretier/foretier/balancer/internal/pool"
	"github.com/foretier/foretier/balancer/internal/tracker"
	"github.com/foretier/foretier/health"
	"github.com/foretier/foretier/internal/fair"
)

// A proxy is what pools and excerpts have in common: the way of requests to the
// backends that a view shows.
type proxy struct {
	self     http.Handler // the pool or excerpt that it is
	opts     Options
	log      *slog.Logger
	view     *pool.View
	reverse  *httputil.ReverseProxy
	hop      hop
	shown    bool // others than the pool's own parts look at requests
	standard bool // ReverseProxy serves all requests, as in tests that compare

	inflight atomic.Int64 // requests in RoundTrip or with an open body
	crowd    int64        // so many of them are many: see together
	sending  atomic.Int64 // when the latest was about to be sent, in ns
	retried  retried
	budget   budget
	depot    depot      // of bodies kept for slow clients
	coming   fair.Quota // places held by requests whose bodies have not come yet
}

func newProxy(opts Options, v *pool.View, h hop) *proxy {
	p := &proxy{opts: opts, log: opts.Logger.With("pool", opts.Name), view: v, hop: h, crowd: 8 * int64(runtime.GOMAXPROCS(0))}
	p.depot.init(p)
	p.reverse = p.newReverse()
	p.shown = opts.Affinity != nil || opts.Refuse != nil || opts.Error != nil || !blind(opts.Policy)
	return p
}

// refuses returns why r goes to no backend, or nil.
func (p *proxy) refuses(r *http.Request) error {
	if p.view.Closing.Err() != nil {
		return ErrClosed
	}
	if p.guards(r) {
		return ErrRefused
	}
	return nil
}

// guards reports whether the pool's guard refuses r.
func (p *proxy) guards(r *http.Request) bool { return p.opts.Refuse != nil && p.opts.Refuse.Match(r) }

// Looped reports whether r has been through the pool before: [Pool.ServeHTTP]
// answers it with 508. A cache in front does not let it wait for its own fetch.
func (p *proxy) Looped(r *http.Request) bool { return p.hop.seen(r.Header) }

// OwnsCookie reports whether the cookie of that name is the pool's own, its
// affinity's: it says nothing of what the client may see. The affinity tells
// as a [health.CookieOwner].
func (p *proxy) OwnsCookie(name string) bool {
	o, ok := p.opts.Affinity.(health.CookieOwner)
	return ok && o.OwnsCookie(name)
}

// observe judges what became of a request at e.
func (p *proxy) observe(e *pool.Entry, now time.Time, r *http.Request, o tracker.Outcome) {
	res := pool.Result{Outcome: o, Request: true}
	if o == tracker.Failed || o == tracker.Erred {
		res.Witness = witness(now, r, o)
	}
	p.view.Set.Observe(e, now, res)
}

// witness returns whose request r was, which failed.
func witness(now time.Time, r *http.Request, o tracker.Outcome) pool.Witness {
	return pool.Testify(now, clientOf(r), r.URL.Path+"?"+r.URL.RawQuery, o)
}
