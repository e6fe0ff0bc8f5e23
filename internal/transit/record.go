// Package transit holds what the stages of one request need of one another.
//
// A request passes through edge, router, cache and balancer, none of which
// import each other. What one of them must tell another travels in a [Record]
// in the request's context: who the client is, what the rule asks of the pool,
// whether a response's end can be trusted, and what the log line will say.
package transit

import (
	"context"
	"iter"
	"log/slog"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/foretier/foretier/internal/fields"
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

	mu     sync.Mutex
	stream func()    // guarded by mu: see OnStream
	notes  []note    // guarded by mu
	cause  error     // guarded by mu
	bad    error     // guarded by mu; see Malformed
	gone   bool      // guarded by mu; see Gone
	fetch  []*Record // guarded by mu; read-only records of fetches that served this request
}

// Terms is what a rule asks of the stages below it. Zero fields ask for
// nothing.
type Terms struct {
	Header time.Duration // time to the first byte of the response; negative: no limit
	Idle   time.Duration // longest pause inside a response; negative: no limit
	Total  time.Duration // everything; zero and negative: no limit
	Retry  Retry
	// Streams says that the answer may take as long as its client wants, so that
	// it is no work in hand: see balancer.Limit.
	Streams bool
}

// A Turn is a request's place among those that its rule serves at once, which is
// given up while the request's body comes: who sends nothing holds none. It is
// safe for concurrent use, also after the rule has served the request.
type Turn interface {
	// Pause gives the place up.
	Pause()
	// Resume asks for it again, and reports whether there is one. early says
	// that the body is still coming: there are few for such requests.
	Resume(early bool) bool
	// Whole says that nothing more comes of a body for which Resume was early.
	Whole()
}

// Retry says which requests may be sent to a second backend.
type Retry uint8

const (
	RetryDefault    Retry = iota // by method, see balancer.Retry
	RetryNever                   // only what was provably not sent: payments, cron jobs
	RetryReplayable              // whatever the method: the application tolerates repeats
)

type note struct {
	part  string
	value slog.LogValuer
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
		d.Page, d.Terms, d.Space = r.Page, r.Terms, r.Space
		d.OnStream(r.Streaming)
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

// Link shows the notes and the cause of an ended fetch in r too. The fetch's
// record must not be written any more.
func (r *Record) Link(fetch *Record) {
	if r == nil || fetch == nil || r == fetch {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.fetch = append(r.fetch, fetch)
}

// Await says until when the client must have sent more of its body, the zero
// Time that nothing is awaited. The standard server cancels a request whose
// client missed that moment just as it does one whose client has gone; [Fail]
// tells them apart by it.
func (r *Record) Await(until time.Time) {
	if r == nil {
		return
	}
	var n int64
	if !until.IsZero() {
		n = until.UnixNano()
	}
	r.awaits.Store(n)
}

// overdue reports whether the client let the moment of Await pass.
func (r *Record) overdue(now time.Time) bool {
	n := r.awaits.Load()
	return n != 0 && now.UnixNano() >= n
}

// Malformed says that the client sent err in the place of a body, which [Fail]
// tells from a client that has gone: both fail whoever reads the body.
func (r *Record) Malformed(err error) {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.bad = err
}

// malformed returns what Malformed has said.
func (r *Record) malformed() error {
	if r == nil {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.bad
}

// Gone reports whether [Fail] was told that the client has gone: a StatusGone
// that a backend sends is an answer like any other.
func (r *Record) Gone() bool {
	if r == nil {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.gone || slices.ContainsFunc(r.fetch, (*Record).Gone)
}

func (r *Record) leave() {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.gone = true
}

// OnStream has f called if the answer turns out to be a stream, which may last
// for as long as its client wants and is no work in hand: so that whoever counts
// requests stops counting this one. f may be called more than once.
func (r *Record) OnStream(f func()) {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if before := r.stream; before != nil {
		r.stream = func() { before(); f() }
		return
	}
	r.stream = f
}

// Streaming says that the answer is a stream: see [Record.OnStream].
func (r *Record) Streaming() {
	if r == nil {
		return
	}
	r.mu.Lock()
	f := r.stream
	r.mu.Unlock()
	if f != nil {
		f()
	}
}

// Note leaves what part did with the request. It is rendered only if somebody
// reads it.
func (r *Record) Note(part string, v slog.LogValuer) {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.notes = append(r.notes, note{part, v})
}

// Fail keeps the cause of an error answer for the log line. The first cause
// stays: later ones are its consequences.
func (r *Record) Fail(cause error) {
	if r == nil || cause == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.cause == nil {
		r.cause = cause
	}
}

// Cause returns why the request could not be served, or nil.
func (r *Record) Cause() error {
	if r == nil {
		return nil
	}
	r.mu.Lock()
	cause, fetches := r.cause, r.fetch
	r.mu.Unlock()
	for _, f := range fetches {
		if cause != nil {
			break
		}
		cause = f.Cause()
	}
	return cause
}

// Notes yields what the parts noted, in order, those of linked fetches last.
func (r *Record) Notes() iter.Seq2[string, slog.LogValuer] {
	return func(yield func(string, slog.LogValuer) bool) {
		if r == nil {
			return
		}
		r.mu.Lock()
		notes, fetches := r.notes, r.fetch
		r.mu.Unlock()
		for _, n := range notes {
			if !yield(n.part, n.value) {
				return
			}
		}
		for _, f := range fetches {
			for part, value := range f.Notes() {
				if !yield(part, value) {
					return
				}
			}
		}
	}
}

// Client returns who asked: what edge found, and without edge the peer. The
// zero Addr means that RemoteAddr holds no address, as in some tests.
func Client(r *http.Request) netip.Addr {
	if rec := From(r.Context()); rec != nil && rec.Client.IsValid() {
		return rec.Client
	}
	return Peer(r)
}

// Peer returns the address at the other end of the connection.
func Peer(r *http.Request) netip.Addr {
	addr, _ := fields.PeerAddr(r.RemoteAddr)
	return addr
}

// Network returns what counts as one client where something is shared out: an
// IPv4 address or an IPv6 /64, of which one client has all addresses.
func Network(addr netip.Addr) netip.Addr {
	addr = addr.Unmap()
	if addr.Is6() {
		p, _ := addr.Prefix(64) // an IPv6 address has 64 bits
		addr = p.Addr()
	}
	return addr
}

// Scheme returns "http" or "https", as the client sees it: what edge found,
// and without edge what this connection is.
func Scheme(r *http.Request) string {
	if rec := From(r.Context()); rec != nil && rec.Scheme != "" {
		return rec.Scheme
	}
	if r.TLS != nil {
		return "https"
	}
	return "http"
}
