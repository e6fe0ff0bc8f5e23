package transit

import (
	"net/http"
	"time"
)

// Orders are what is ordered of the stages below.
type Orders struct {
	// Page answers with the operator's page for status and reports whether it
	// has one. It may be nil. Set by edge.
	Page func(w http.ResponseWriter, r *http.Request, status int) bool
	// Front is who answers what a stage below asks on the visitor's behalf besides
	// the request itself, so that it is judged like whatever the visitor asks. Set
	// by edge, and by a router if nobody above has; nil: whom the stage wraps.
	Front http.Handler
	// Span is the request's in somebody's tracing, or nil. Set by edge.
	Span Span
	// Composes is what a stage above makes of answers that ask for it, as a member
	// of Surrogate-Capability (Edge Architecture Specification), such as
	// a="ESI/1.0". It is what backends are told of beside a cache's own, whatever
	// the client has sent. Empty: nothing. Set by esi.
	Composes string
	// Rule is the name of the rule that took the request. Set by router.
	Rule string
	// Terms is what that rule asks of the pool. Set by router.
	Terms Terms
	// Space sets the answers for this request apart from all others: a cache
	// keeps it in its keys. Empty for nearly all; the arm of a split otherwise.
	// Set by router.
	Space string
	// Arms are those of splits that the visitor belongs to, as a backend is told:
	// "canary=b", several with ", " between them. Set by router.
	Arms string
	// Choice says what the rules of routers have gone by that have led the request here.
	// Set by router.
	Choice Choice
	// Turn is the request's place among those that its rule serves at once, or
	// nil. Set by router.
	Turn Turn
	// Storable reports whether an answer with this status and header would be
	// stored and shared. The pool asks before it adds a cookie of its own, and
	// adds none if so: the cookie would make the answer one visitor's. Nil
	// means no. Set by cache on the record of a fetch.
	Storable func(status int, h http.Header) bool
}

// A Choice is what rules have gone by.
type Choice uint8

const (
	NoChoice  Choice = iota // there were none
	ByTheRest               // anything but the query
	ByQuery                 // the query too, or nobody knows what
)

// A Teller is a handler that tells whomever it asks of [Orders.Composes], so that
// nobody above has to say it in a header of a request that may be answered by what is
// stored.
type Teller interface {
	// Tells does nothing.
	Tells()
}

// Streaming says that the answer is a stream: see [Turn].
func (o *Orders) Streaming() {
	if o.Turn != nil {
		o.Turn.Stream()
	}
}

// Terms is what a rule asks of the stages below it. Zero fields ask for
// nothing.
type Terms struct {
	Header time.Duration // time to the first byte of the response; negative: no limit
	Idle   time.Duration // longest pause inside a response; negative: no limit
	Total  time.Duration // everything; zero and negative: no limit
	Retry  Retry
	// Streams says that the answer may take as long as its client wants, so that
	// it is no work in hand: see balancer.Limits.
	Streams bool
}

// A Turn is a request's place among those that its rule serves at once, which is
// given up while the request's body comes, for who sends nothing holds none, and
// for good when the answer is a stream. It is safe for concurrent use, also after
// the rule has served the request.
type Turn interface {
	// Pause gives the place up.
	Pause()
	// Resume asks for it again, and reports whether there is one. early says
	// that the body is still coming: there are few for such requests.
	Resume(early bool) bool
	// Whole says that nothing more comes of a body for which Resume was early.
	Whole()
	// Stream says that the answer is a stream, which may last for as long as its
	// client wants and is no work in hand. It may be called more than once.
	Stream()
}

// Retry says which requests may be sent to a second backend.
type Retry uint8

const (
	RetryDefault    Retry = iota // by method, see balancer.Retries
	RetryNever                   // only what was provably not sent: payments, cron jobs
	RetryReplayable              // whatever the method: the application tolerates repeats
)
