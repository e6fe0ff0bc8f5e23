package session

import (
	"errors"
	"net/http"
)

var (
	// ErrUnavailable means that the store did not answer in time, or that too
	// many calls before this one failed.
	ErrUnavailable = errors.New("session: store unavailable")
	// ErrEnded means that the session was destroyed, renewed or expired while
	// the request was under way: its changes are dropped.
	ErrEnded = errors.New("session: ended meanwhile")
	// ErrReadOnly means that this request cannot change its session: the store
	// is out and [Options].Degrade let it go on, or it is a cross-site POST
	// without a session's cookie, which must not overwrite the visitor's. A
	// SameSite=None cookie would have come with that POST, so none is there.
	ErrReadOnly = errors.New("session: read-only for this request")
	// ErrTooLarge means that a session would hold more than [MaxSize].
	ErrTooLarge = errors.New("session: too large")
	// ErrBegun means that the response's header has gone out, so that no
	// cookie can be set any more, or that it went out before the session was
	// used and lets shared caches keep the response: use the session first.
	ErrBegun = errors.New("session: the response has begun")
	// ErrNoManager means that no [Manager] handles the request.
	ErrNoManager = errors.New("session: no manager handles this request")
)

// status returns what a client is told when err kept its session from being
// loaded or saved.
func status(err error) int {
	switch {
	case errors.Is(err, ErrUnavailable), errors.Is(err, ErrLocked), errors.Is(err, ErrFull), errors.Is(err, ErrRefused):
		return http.StatusServiceUnavailable
	case errors.Is(err, ErrConflict), errors.Is(err, ErrEnded):
		return http.StatusConflict
	}
	return http.StatusInternalServerError
}
