package balancer

import (
	"cmp"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"net/http/httputil"
	"time"

	"github.com/foretier/foretier/balancer/internal/pool"
	"github.com/foretier/foretier/health"
)

// Options of a [Pool]. The zero Options are valid.
type Options struct {
	// Name tells pools apart in logs, reports and errors. Empty: "pool".
	Name string
	// Policy picks. Nil: [Adaptive].
	Policy Policy
	// Probe asks each backend how it is, while [Pool.Run] runs. Nil: the pool
	// learns from its requests alone. What its method Validate() error says, if
	// it has one, is an error of [New].
	Probe health.Probe
	// Schedule says when to probe.
	Schedule health.Schedule
	// Outlier says which failures of requests take a backend out. But for
	// refused connections these must be of three clients (IPv4 addresses or IPv6
	// /64s) and two URLs, within its Window: one visitor condemns nobody, nor
	// does one page. Behind a proxy that edge does not trust, all are one client.
	// Answers of 500 and the like take out a tenth of a pool at most, or one
	// backend.
	Outlier health.Outlier
	// Source tells the backends, while [Pool.Run] runs. Nil: they are those
	// given to [New] and [Pool.Update].
	Source Source
	// Affinity binds clients to backends. Nil: nobody is bound.
	Affinity Affinity
	// Refuse guards the backends against requests that must not reach them,
	// whatever the rules in front were. It is asked about the request as it
	// goes out, before and after the backend's base path is put in front, on
	// every attempt. What it matches is answered with 403.
	Refuse interface{ Match(*http.Request) bool }
	// Retries say when a second backend is tried.
	Retries Retries
	// Timeouts bounds the waiting.
	Timeouts Timeouts
	// Limits bound the requests in hand.
	Limits Limits
	// Spool keeps bodies for slow clients: of requests until they are whole, and of
	// responses until they are taken.
	Spool Spool
	// TLS is for https backends, with the certificates that this side
	// shows. Nil: the system's roots.
	TLS *tls.Config
	// Via is the pseudonym under which the pool stands in the Via of the
	// requests that it proxies (RFC 9110, section 7.6.3): a token. What comes
	// back to it by whatever detour is answered with 508, in place of going
	// round until something breaks. Empty: random for this process and pool, so
	// that two tiers in a row are never taken for a loop. The gateways of one
	// tier may share a name; two tiers may not.
	//
	// nginx as a backend stops compressing what comes with a Via, unless it has
	// "gzip_proxied any". [NoVia] sends none, and CDN-Loop (RFC 8586) in its
	// place.
	Via string
	// Rewrite may change each request that goes out, after the pool has set
	// the forwarding fields. It does not choose the backend. The query is the
	// client's, to the byte: url.Values leaves out parameters with a semicolon
	// or a broken escape, which a backend may read. It is also called by
	// [Pool.Explain], which sends nothing.
	Rewrite func(*httputil.ProxyRequest)
	// Error answers a request that failed, in the pool's place. The error is
	// one of this package's, or wraps it. It is not called once a response
	// has begun.
	Error func(http.ResponseWriter, *http.Request, error)
	// Transport makes the way to a backend. Nil, or where it returns nil: the pool's
	// own, of which fcgi has none. That keeps a
	// connection for 4 s at most, less if the backend says so by "Keep-Alive:
	// timeout=", of which it takes off a second, and those beyond 32 for 100 ms:
	// as many as are in hand, until they are no longer. Connections of any other
	// are that one's affair: a request that may log its connection
	// in (see the package's comment) has Close set, which [http.Transport]
	// respects over HTTP/1 alone. One with a method NoChunks() bool that returns true
	// gets no body without a length, as a backend of HTTP/1.0.
	Transport func(Backend) http.RoundTripper
	// Trace is told what the pool does. Nil: nobody.
	Trace *Trace
	// Logger takes a line for each change of a backend, and, where nobody above
	// logs, for each request that failed. Nil: [slog.Default].
	Logger *slog.Logger
}

// Retries say when a request is tried again, elsewhere. What was provably not
// sent, or not processed, as a backend over HTTP/2 may say (RFC 9113, sections
// 6.8 and 8.7), is tried again while a backend is left, and costs nothing of what
// follows; GET, HEAD, OPTIONS and what carries an
// Idempotency-Key also after a reset, 502 or 503; GET and HEAD without Cookie
// and Authorization also after a 500; nothing after a 504 or a timeout. A rule
// can narrow or widen this for its requests. The zero Retries stand for the
// defaults named at the fields.
type Retries struct {
	Max    int     // further attempts after one that may have been executed; 1. Negative: none
	Budget float64 // retries as a share of the requests, over ten seconds, so that a sick pool is not given twice the work; 0.2. Negative: no limit
	Min    int     // retries a second that are allowed besides; 3. Negative: none
	Body   int64   // bytes of a request's body that are kept for a second attempt while it comes, as a dialogue does; what was whole beforehand is kept anyway; 64 KiB. Negative: none
}

// Timeouts bounds the waiting for a backend. Zero fields stand for the
// defaults named beside them, negative ones for no limit. A rule's own, if it
// has any, come before these.
type Timeouts struct {
	Dial   time.Duration // to connect, TLS included; 1 s
	Header time.Duration // from the end of the request to the response's header; 60 s
	Idle   time.Duration // longest pause inside a response's body; 60 s
	Total  time.Duration // everything, body included; none
}

// Limits bound the requests in hand. The zero Limits bound nothing.
//
// A stream is a connection after a 101, a response of text/event-stream, or a
// request of which a rule says so (router.Rule.Streams). It costs its backend
// next to nothing and may last for days, so it takes no place of those for
// requests, whatever came of it before; a long poll, which looks like a slow
// page, does, unless a rule says that it streams. Nobody waits for the end of a
// stream: beyond the limit there is 503 at once.
//
// One client, an IPv4 address or an IPv6 /64, may hold seven times as many places
// as are left free, of each backend's and of all that are in use: alone all but an
// eighth, and of fewer than eight all. What it asks for beyond waits, without
// standing in the way of others. Clients that wait have their turns: of each the
// first, then of each the second; once the queue is full, the last make room. Of
// streams the same shares hold, for which there is 503. Behind a proxy that edge does not trust all are one client;
// who has no address, as under an http.Client, has no share to exceed.
type Limits struct {
	InFlight int           // requests at each backend at once, streams aside; 0: no limit
	Streams  int           // streams at each backend at once; 0: no limit
	Queue    int           // requests that wait for a place; 0: 128. Negative: none
	Wait     time.Duration // how long each of them waits; 0: 5 s
}

// withDefaults fills in what o leaves out, and checks the rest.
func (o Options) withDefaults() (Options, error) {
	o.Name = cmp.Or(o.Name, "pool")
	o.Policy = cmp.Or(o.Policy, Adaptive())
	o.Schedule = o.Schedule.WithDefaults()
	o.Outlier = o.Outlier.WithDefaults()
	o.Retries.Max = cmp.Or(o.Retries.Max, 1)
	o.Retries.Budget = cmp.Or(o.Retries.Budget, 0.2)
	o.Retries.Min = cmp.Or(o.Retries.Min, 3)
	o.Retries.Body = cmp.Or(o.Retries.Body, 64<<10)
	o.Timeouts.Dial = cmp.Or(o.Timeouts.Dial, time.Second)
	o.Timeouts.Header = cmp.Or(o.Timeouts.Header, time.Minute)
	o.Timeouts.Idle = cmp.Or(o.Timeouts.Idle, time.Minute)
	o.Spool.Bytes = cmp.Or(o.Spool.Bytes, spoolDisk)
	o.Logger = cmp.Or(o.Logger, slog.Default())
	if o.TLS != nil {
		o.TLS = o.TLS.Clone()
	}
	if err := pool.Check(map[string]any{"Policy": o.Policy, "Probe": o.Probe, "Source": o.Source, "Affinity": o.Affinity, "Refuse": o.Refuse}); err != nil {
		return o, err
	}
	if math.IsNaN(o.Retries.Budget) {
		return o, errors.New("balancer: Retries.Budget is no number")
	}
	limits, err := pool.Limits(o.Limits).WithDefaults("requests")
	if err != nil {
		return o, err
	}
	o.Limits = Limits(limits)
	if err := errors.Join(o.Schedule.Validate(), o.Outlier.Validate()); err != nil {
		return o, fmt.Errorf("balancer: %w", err)
	}
	return o, nil
}
