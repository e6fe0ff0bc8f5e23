package transit

import "time"

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
	RetryDefault    Retry = iota // by method, see balancer.Retry
	RetryNever                   // only what was provably not sent: payments, cron jobs
	RetryReplayable              // whatever the method: the application tolerates repeats
)

// Streaming says that the answer is a stream: see [Turn].
func (r *Record) Streaming() {
	if r != nil && r.Turn != nil {
		r.Turn.Stream()
	}
}
