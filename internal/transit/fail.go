package transit

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/foretier/foretier/internal/fields"
)

// StatusGone stands in logs for a client that left before it had its answer. An
// edge writes none: it closes the connection or the stream.
const StatusGone = 499

// Fail answers r with an error status of the tier's own: it keeps the cause
// for the log line, then writes the operator's page for that status or a line
// of text. The answer is never stored.
//
// StatusGone becomes 408 if the client did not leave but stalled, and 400 if it
// sent what is no body: see [Journal.Await] and [Journal.Malformed]. A Retry-After
// already in w's header stays; 503 gets "30" without one.
func Fail(w http.ResponseWriter, r *http.Request, status int, cause error) {
	rec := From(r.Context())
	if status == StatusGone && (errors.Is(context.Cause(r.Context()), os.ErrDeadlineExceeded) || rec.overdue(time.Now())) {
		status, cause = http.StatusRequestTimeout, fmt.Errorf("transit: the client sent nothing of its body for too long: %w", cause)
	}
	if bad := rec.malformed(); status == StatusGone && bad != nil {
		status, cause = http.StatusBadRequest, fmt.Errorf("transit: the client's body is malformed: %w", bad)
	}
	if status == StatusGone {
		rec.leave()
	}
	rec.Answered(status)
	rec.Fail(cause)
	h := w.Header()
	for _, name := range [...]string{"Content-Encoding", "Content-Length", "Etag", "Last-Modified", "Set-Cookie", "Surrogate-Control"} {
		h.Del(name)
	}
	fields.CacheControl(h, "no-store")
	ShowError(w, r, status, nil)
}

// ShowError writes an answer of an error status whose header is otherwise in w: page, if
// it is not empty, or the operator's for that status, or a line of text; JSON for those
// who accept that and no page; a status of gRPC for its calls over HTTP/2. 503 gets a
// Retry-After.
func ShowError(w http.ResponseWriter, r *http.Request, status int, page []byte) {
	h := w.Header()
	h.Set("X-Content-Type-Options", "nosniff")
	if status == http.StatusServiceUnavailable && h.Get("Retry-After") == "" {
		h.Set("Retry-After", "30")
	}
	if speaksGRPC(r) {
		showGRPC(w, status)
		return
	}
	text := http.StatusText(status)
	if wantsJSON(r) {
		h.Set("Content-Type", "application/json")
		w.WriteHeader(status)
		id := ""
		if rec, ok := Lookup(r.Context()); ok && rec.ID != "" {
			id = fmt.Sprintf(",\"request_id\":%q", rec.ID)
		}
		fmt.Fprintf(w, "{\"status\":%d,\"error\":%q%s}\n", status, text, id)
		return
	}
	if len(page) > 0 {
		h.Set("Content-Type", "text/html; charset=utf-8")
		w.WriteHeader(status)
		_, _ = w.Write(page) // the client may have gone
		return
	}
	if rec, ok := Lookup(r.Context()); ok && rec.Page != nil && rec.Page(w, r, status) {
		return
	}
	h.Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	fmt.Fprintf(w, "%d %s\n", status, text)
}

// wantsJSON reports whether the client accepts JSON and no page.
func wantsJSON(r *http.Request) bool {
	accept := strings.ToLower(strings.Join(r.Header["Accept"], ","))
	return strings.Contains(accept, "json") &&
		!strings.Contains(accept, "text/") && !strings.Contains(accept, "*/*")
}
