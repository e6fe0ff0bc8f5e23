package session

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"

	"github.com/foretier/foretier/internal/fields"
	"github.com/foretier/foretier/internal/transit"
)

// A visit is one request under way: the context in which its session is found,
// and the response before whose first byte the session is saved. It is one
// allocation; [writer] is its side towards the handler.
type visit struct {
	context.Context
	w       http.ResponseWriter
	session Session
	begun   bool  // the header has gone out
	failed  error // why an error was answered instead of what the handler writes
}

type contextKey struct{}

// Value implements [context.Context].
func (v *visit) Value(key any) any {
	if key == (contextKey{}) {
		return &v.session
	}
	return v.Context.Value(key)
}

// From returns the session of the request with this context. It is nil if no
// [Manager] handles the request; a nil Session answers ErrNoManager.
func From(ctx context.Context) *Session {
	s, _ := ctx.Value(contextKey{}).(*Session)
	return s
}

// begin saves the session and puts its cookie into the response's header. If
// that fails it answers the client itself, and returns why.
func (v *visit) begin() error {
	if v.begun {
		return v.failed
	}
	v.begun = true
	s := &v.session
	if err := s.commit(v.w.Header()); err != nil {
		v.failed = err
		if status(err) == http.StatusServiceUnavailable {
			v.w.Header().Set("Retry-After", retryAfter)
		}
		transit.Fail(v.w, s.r, status(err), err)
		s.m.log(s.r, status(err), err)
		return err
	}
	// Without a ticket there is nothing that a stranger could be shown.
	if s.isUsed(s.m.carrier.known(s.r) && fields.MayBeShared(v.w.Header())) {
		makePrivate(v.w.Header())
	}
	return nil
}

// finish ends a request whose handler has returned.
func (v *visit) finish() {
	if !v.begun {
		_ = v.begin() // has answered and told the operator itself
		return
	}
	if v.failed != nil {
		return
	}
	if err := v.session.Save(); err != nil {
		v.session.m.log(v.session.r, 0, fmt.Errorf("session: changes after the response's first byte are lost: %w", err))
	}
}

// makePrivate keeps a response that depends on a session out of shared caches
// (RFC 9111, section 5.2.2.7), whatever its handler thought.
func makePrivate(h http.Header) {
	own := "private, no-store"
	if fields.OwnToClient(h) {
		own = strings.Join(h["Cache-Control"], ", ") // the browser's own cache may do as it says
	}
	fields.CacheControl(h, own)
}

// writer is a visit as its handler's [http.ResponseWriter].
type writer visit

func (w *writer) visit() *visit { return (*visit)(w) }

// Header implements [http.ResponseWriter].
func (w *writer) Header() http.Header { return w.w.Header() }

// WriteHeader implements [http.ResponseWriter]. Informational responses pass
// and commit to nothing.
func (w *writer) WriteHeader(status int) {
	if status >= 100 && status < 200 && status != http.StatusSwitchingProtocols {
		if !w.begun {
			w.w.WriteHeader(status)
		}
		return
	}
	if w.visit().begin() == nil {
		w.w.WriteHeader(status)
	}
}

// Write implements [http.ResponseWriter]. It returns the error that was
// answered to the client instead, if any.
func (w *writer) Write(p []byte) (int, error) {
	if err := w.visit().begin(); err != nil {
		return 0, err
	}
	return w.w.Write(p)
}

// WriteString implements [io.StringWriter].
func (w *writer) WriteString(s string) (int, error) {
	if err := w.visit().begin(); err != nil {
		return 0, err
	}
	return io.WriteString(w.w, s)
}

// ReadFrom implements [io.ReaderFrom], so that files go out by sendfile.
func (w *writer) ReadFrom(src io.Reader) (int64, error) {
	if err := w.visit().begin(); err != nil {
		return 0, err
	}
	return io.Copy(w.w, src)
}

// FlushError sends what was written, as [http.ResponseController] asks for it.
func (w *writer) FlushError() error {
	if err := w.visit().begin(); err != nil {
		return err
	}
	return http.NewResponseController(w.w).Flush()
}

// Flush implements [http.Flusher].
func (w *writer) Flush() { _ = w.FlushError() } // the interface has no way to tell

// Hijack implements [http.Hijacker]. The session's cookie is in the header by
// then, which whoever hijacks may write out.
func (w *writer) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	if err := w.visit().begin(); err != nil {
		return nil, nil, fmt.Errorf("session: not hijacked: %w", err)
	}
	return http.NewResponseController(w.w).Hijack()
}

// Unwrap returns the writer beneath, for [http.ResponseController].
func (w *writer) Unwrap() http.ResponseWriter { return w.w }
