package router

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"

	"github.com/foretier/foretier/internal/fields"
	"github.com/foretier/foretier/internal/transit"
)

// A ruling is what a service has answered to a question.
type ruling struct {
	status  int
	header  http.Header
	body    []byte // of a refusal
	err     error  // why it is no answer
	journal *transit.Journal
}

var (
	errAskSilent = errors.New("no answer")
	errAskBroken = errors.New("its answer broke off")
	errAskLarge  = fmt.Errorf("its answer is larger than %d bytes", askBody)
)

// passes reports whether the request may go on.
func (s *ruling) passes() bool { return s.err == nil && s.status >= 200 && s.status <= 299 }

// judge says why it is no answer, if it is none. whole says that the service has ended it,
// late why its time is over, cause why somebody below has answered in its place.
func (s *ruling) judge(whole bool, late, cause error) {
	switch {
	case s.err != nil:
	case s.status == 0 && late != nil:
		s.err = fmt.Errorf("%w: %w", errAskSilent, late)
	case s.status == 0: // of which net/http makes 200: here nothing opens that has not said so
		s.err = errAskSilent
	case s.passes():
	case cause != nil:
		s.err = cause
	case !whole:
		s.err = errAskBroken
	case s.status >= 500, s.status < 200, s.status == http.StatusNotModified:
		s.err = fmt.Errorf("it answers %d", s.status)
	}
}

// refuse gives the service's answer to the client.
func (s *ruling) refuse(w http.ResponseWriter) {
	h := w.Header()
	for name, lines := range s.header {
		h[name] = slices.Clone(lines)
	}
	fields.RemoveHopByHop(h)
	fields.CacheControl(h, "no-store")
	h["Content-Length"] = []string{strconv.Itoa(len(s.body))}
	w.WriteHeader(s.status)
	_, _ = w.Write(s.body) // the client may have gone
}

// A rulingWriter takes down what a service says.
type rulingWriter struct {
	ruling  ruling
	header  http.Header
	dropped int    // bytes of a pass's body
	whole   bool   // the service has ended it
	drain   func() // called once it is known that what follows is of no interest
}

// Header implements [http.ResponseWriter].
func (w *rulingWriter) Header() http.Header { return w.header }

// WriteHeader implements [http.ResponseWriter].
func (w *rulingWriter) WriteHeader(status int) {
	if w.ruling.status != 0 || status < 200 && status != http.StatusSwitchingProtocols {
		return
	}
	w.ruling.status, w.ruling.header = status, w.header.Clone()
	if w.ruling.passes() {
		w.drain()
	}
}

// Write implements [http.ResponseWriter].
func (w *rulingWriter) Write(p []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	s := &w.ruling
	switch {
	case s.passes():
		if w.dropped += len(p); w.dropped > askBody {
			return 0, errAskLarge // and it is a pass all the same
		}
	case s.err != nil || len(s.body)+len(p) > askBody:
		s.body, s.err = nil, errAskLarge
		return 0, errAskLarge
	default:
		s.body = append(s.body, p...)
	}
	return len(p), nil
}

// Flush implements [http.Flusher].
func (w *rulingWriter) Flush() { w.WriteHeader(http.StatusOK) }
