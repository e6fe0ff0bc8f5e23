package balancer

import (
	"context"
	"time"

	"github.com/foretier/foretier/health"
)

// Trace is told what a pool does, in the manner of [net/http/httptrace]. Any
// field may be nil. Picked and Tried are called by the goroutine of the
// request and hold it up; ctx is the request's.
type Trace struct {
	// Picked is told each pick and what it was chosen from.
	Picked func(ctx context.Context, d health.Decision)
	// Tried is told what became of each attempt.
	Tried func(ctx context.Context, a Attempt)
	// Changed is told each change of a backend's state, in order, by the
	// goroutine of [Pool.Run], while that runs.
	Changed func(s Status)
}

// An Attempt is one try at a backend.
type Attempt struct {
	Backend string
	Status  int           // of the response; 0: there was none
	Err     error         // why not
	Took    time.Duration // from the pick to the response's header, or to the error
}
