// Package transit holds what the stages of one request need of one another.
//
// A request passes through edge, router, cache and balancer, none of which
// import each other. What one of them must tell another travels in a [Record]
// in the request's context: who the client is, what the rule asks of the pool,
// whether a response's end can be trusted, and what the log line will say.
package transit

import (
	"context"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
)

// A Record accompanies one request down the chain.
//
// The exported fields are written by the stage named beside each, before it
// calls the next one, and read below; they need no lock because a request is
// handed from stage to stage. The methods are safe for concurrent use.
type Record struct {
	// Client is who asked: filled by edge, which knows the trusted proxies.
	// The zero Addr means that no edge ran: see [Client].
	Client netip.Addr
	// Scheme is "http" or "https", as the client sees it: filled by edge.
	// Empty means that no edge ran: see [Scheme].
	Scheme string
	// ID names the request in logs and in X-Request-Id: filled by edge.
	ID string
	// Vetted says that the request's forwarding headers have been cleaned by
	// [github.com/foretier/foretier/internal/fields.Clean]: what is left of
	// them comes from a trusted peer. Set by edge.
	Vetted bool
	// Logged says that somebody writes a log line from this record when the
	// request ends, so that no stage needs to write its own. Set by edge.
	Logged bool
	// Page answers with the operator's page for status and reports whether it
	// has one. It may be nil. Set by edge.
	Page func(w http.ResponseWriter, r *http.Request, status int) bool
	// Terms is what the rule that took the request asks of the pool. Set by
	// router.
	Terms Terms
	// Space sets the answers for this request apart from all others: a cache
	// keeps it in its keys. Empty for nearly all; the arm of a split otherwise.
	// Set by router.
	Space string
	// Unproven says that the response's body ended by the backend closing an
	// HTTP/1 connection, with neither a length nor chunked framing, so that
	// nobody can tell a whole body from half of one. Set by the pool before
	// the response's header is handed up.
	Unproven bool
	// Sent is the header of the request as the pool made it for the backend,
	// not to be changed: what it has that the pool's caller did not give is the
	// tier's own, and an answer may vary on it. Set by the pool before the
	// response's header is handed up; nil if no pool was asked.
	Sent http.Header
	// Storable reports whether an answer with this status and header would be
	// stored and shared. The pool asks before it adds a cookie of its own, and
	// adds none if so: the cookie would make the answer one visitor's. Nil
	// means no. Set by cache on the record of a fetch.
	Storable func(status int, h http.Header) bool

	// Turn is the request's place among those that its rule serves at once, or
	// nil. Set by router.
	Turn Turn

	awaits atomic.Int64 // see Await

	mu    sync.Mutex
	notes []note    // guarded by mu
	cause error     // guarded by mu
	bad   error     // guarded by mu; see Malformed
	gone  bool      // guarded by mu; see Gone
	fetch []*Record // guarded by mu; read-only records of fetches that served this request
}

type key struct{}

// With returns the record in ctx, or ctx with a new one.
func With(ctx context.Context) (context.Context, *Record) {
	if r := From(ctx); r != nil {
		return ctx, r
	}
	r := new(Record)
	return context.WithValue(ctx, key{}, r), r
}

// From returns the record in ctx, or nil.
func From(ctx context.Context) *Record {
	r, _ := ctx.Value(key{}).(*Record)
	return r
}

// Detach returns a context for work that outlives the request which caused it,
// a cache's fetch, and the record of its own in that context. The new record
// knows the same client and terms, but what is noted in it stays in it until
// it is linked.
//
// The context carries nothing of the request's but [http.ServerContextKey]:
// httputil.ReverseProxy reports a truncated body, by panicking with
// [http.ErrAbortHandler], only to a server.
func (r *Record) Detach(ctx context.Context) (context.Context, *Record) {
	d := new(Record)
	if r != nil {
		d.Client, d.Scheme, d.ID, d.Vetted = r.Client, r.Scheme, r.ID, r.Vetted
		d.Page, d.Terms, d.Space, d.Turn = r.Page, r.Terms, r.Space, r.Turn
	}
	// Whoever detaches reads the record: it is linked to those who wait, or
	// logged by the one who fetched.
	d.Logged = true
	srv, _ := ctx.Value(http.ServerContextKey).(*http.Server)
	if srv == nil {
		srv = new(http.Server)
	}
	fresh := context.WithValue(context.Background(), http.ServerContextKey, srv)
	return context.WithValue(fresh, key{}, d), d
}
