package balancer

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"

	"github.com/foretier/foretier/balancer/internal/pool"
	"github.com/foretier/foretier/health"
	"github.com/foretier/foretier/internal/http1"
)

var (
	// ErrNoBackend means that the pool has no backend that may serve.
	ErrNoBackend = pool.ErrNoBackend
	// ErrBusy means that all backends have as much in hand as [Limits] allows, in
	// all or of this client, and that no place came free in time.
	ErrBusy = pool.ErrBusy
	// ErrRefused means that [Options.Refuse] matched.
	ErrRefused = errors.New("balancer: request refused by the pool's guard")
	// ErrTimeout means that a backend took longer than [Timeouts] allows.
	ErrTimeout = errors.New("balancer: backend took too long")
	// ErrClosed means that the pool has been closed.
	ErrClosed = pool.ErrClosed
	// ErrUnknown means that the pool has no backend of that name.
	ErrUnknown = pool.ErrUnknown
)

// statusGone is what nginx logs for a client that went away.
const statusGone = 499

// A clientError is a failure to read the client's request: nobody else's
// fault.
type clientError struct{ err error }

func (e *clientError) Error() string { return "balancer: reading the request's body: " + e.err.Error() }
func (e *clientError) Unwrap() error { return e.err }

// errLength means that a body would have to be sent with a length, which its
// client has not told and which was too long to be found out.
var errLength = &clientError{errors.New("it has no length, which its backend needs, and it is too long to be measured")}

// statusOf returns the status with which err is answered.
func statusOf(err error, r *http.Request) int {
	var large *http.MaxBytesError
	var client *clientError
	switch {
	case errors.Is(err, ErrRefused):
		return http.StatusForbidden
	case errors.Is(err, ErrLoop):
		return http.StatusLoopDetected
	case errors.Is(err, errTurn):
		return http.StatusTooManyRequests
	case errors.Is(err, errLength):
		return http.StatusLengthRequired
	case errors.As(err, &large):
		return http.StatusRequestEntityTooLarge
	case errors.As(err, &client) && errors.Is(err, os.ErrDeadlineExceeded):
		return http.StatusRequestTimeout
	case errors.As(err, &client), errors.Is(r.Context().Err(), context.Canceled):
		return statusGone
	case errors.Is(err, ErrNoBackend), errors.Is(err, ErrBusy), errors.Is(err, ErrClosed):
		return http.StatusServiceUnavailable
	case health.Unreachable(err):
		return http.StatusBadGateway
	case errors.Is(err, ErrTimeout), isTimeout(err):
		return http.StatusGatewayTimeout
	}
	return http.StatusBadGateway
}

func isTimeout(err error) bool {
	var t net.Error
	return errors.Is(err, context.DeadlineExceeded) || errors.As(err, &t) && t.Timeout()
}

// errTurn means that the request's rule has as many others in hand as it may, now
// that the body is there.
var errTurn = errors.New("balancer: as many requests are in hand as the rule's limit allows")

// errTalks ends the wait for a backend that tells without end that it will
// answer.
var errTalks = fmt.Errorf("balancer: more than %d bytes of informational responses", http1.MaxHeader)

// errRescued ends the wait for a backend that turned down.
var errRescued = errors.New("balancer: the backend turned down meanwhile")

// errLast means that the request goes no further because it says so.
var errLast = errors.New("its Max-Forwards is 0")
