package cache

import (
	"net/http"
	"net/textproto"
	"strconv"
	"strings"

	"github.com/foretier/foretier/internal/fields"
)

// fetchWriter is the ResponseWriter of a fetch.
type fetchWriter fetch

// Header implements [http.ResponseWriter].
func (w *fetchWriter) Header() http.Header { return w.header }

// WriteHeader implements [http.ResponseWriter].
func (w *fetchWriter) WriteHeader(status int) { (*fetch)(w).WriteHeader(status) }

// Write implements [http.ResponseWriter].
func (w *fetchWriter) Write(p []byte) (int, error) {
	f := (*fetch)(w)
	if !f.wrote {
		f.WriteHeader(http.StatusOK)
	}
	f.written += int64(len(p))
	switch f.answer.kind {
	case shared:
		if f.answer.length >= 0 && f.written > f.answer.length {
			return 0, http.ErrContentLength
		}
		if err := f.body.write(f.ctx, p, f.h.cache.opts.MaxBody); err != nil {
			return 0, err
		}
	case private:
		if f.leader != nil {
			return f.leader.Write(p)
		}
	}
	return len(p), nil
}

// FlushError implements the method that [http.ResponseController] looks for.
func (w *fetchWriter) FlushError() error {
	f := (*fetch)(w)
	if !f.wrote {
		f.WriteHeader(http.StatusOK)
	}
	if f.answer.kind == private && f.leader != nil {
		return http.NewResponseController(f.leader).Flush()
	}
	return nil
}

// Flush implements [http.Flusher].
func (w *fetchWriter) Flush() { _ = w.FlushError() }

// Unwrap returns the leader's writer once the response is the leader's alone.
func (w *fetchWriter) Unwrap() http.ResponseWriter {
	if w.wrote && w.answer.kind == private && w.leader != nil {
		return w.leader
	}
	return nil
}

// copyTrailers copies the fields that were set after the body: those that
// Trailer announced, and those that carry [http.TrailerPrefix].
func copyTrailers(to, from http.Header) {
	for _, name := range fields.List(from["Trailer"]) {
		name = textproto.CanonicalMIMEHeaderKey(name)
		if values, ok := from[name]; ok {
			to[name] = values
		}
	}
	for name, values := range from {
		if strings.HasPrefix(name, http.TrailerPrefix) {
			to[name] = values
		}
	}
}

// contentLength returns the length that a header states, or -1.
func contentLength(h http.Header) int64 {
	lines := h["Content-Length"]
	if len(lines) != 1 {
		return -1
	}
	n, err := strconv.ParseInt(lines[0], 10, 64)
	if err != nil || n < 0 {
		return -1
	}
	return n
}
