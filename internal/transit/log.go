package transit

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net/http"

	"github.com/foretier/foretier/internal/fields"
)

// Enter returns r with a record in its context, and the record. made says that
// the chain begins here: there was none, r is a shallow copy, and the caller logs
// by [Log] once it has served it.
func Enter(r *http.Request) (_ *http.Request, rec *Record, made bool) {
	if rec, ok := Lookup(r.Context()); ok {
		return r, rec, false
	}
	ctx, rec := With(r.Context())
	return r.WithContext(ctx), rec, true
}

// Log writes a line for the request r that rec tells of, if something has failed or
// was refused. Edge has a line for every request; whoever else begins a chain
// calls this at the end, and nobody below logs by itself. part is the name of the
// one who does. What the client or the operator has ordered, and a client that
// has gone, is written at Debug.
func Log(log *slog.Logger, part string, r *http.Request, rec *Record) {
	cause := rec.Cause()
	if cause == nil {
		return
	}
	status := rec.Status()
	gone := rec.Gone() || errors.Is(r.Context().Err(), context.Canceled)
	if gone {
		status = StatusGone
	}
	level, message := Grade(cmp.Or(status, http.StatusInternalServerError), cause, false, gone)
	if level < slog.LevelWarn {
		level = slog.LevelDebug
	}
	ctx := context.WithoutCancel(r.Context())
	if !log.Enabled(ctx, level) {
		return
	}
	target := r.RequestURI
	if target == "" { // of a request that a program has made
		target = r.URL.RequestURI()
	}
	attrs := make([]slog.Attr, 0, 10)
	attrs = append(attrs,
		slog.String("part", part),
		slog.String("method", r.Method),
		slog.String("host", fields.AfterLogin(r.Host)),
		slog.String("target", Clip(target)),
	)
	if status != 0 { // else another's has gone out
		attrs = append(attrs, slog.Int("status", status))
	}
	for part, value := range rec.Notes() {
		attrs = append(attrs, slog.Any(part, value))
	}
	attrs = append(attrs, slog.String("cause", cause.Error()))
	log.LogAttrs(ctx, level, message, attrs...)
}

// Grade returns the level of a request's line and its message, which is constant, so
// that logs can be grouped by it: Error for what the tier or a backend failed to
// serve, Warn for other answers that have a cause, else Info, as for what the
// operator or the client has ordered. aborted says that the response broke off.
func Grade(status int, cause error, aborted, gone bool) (level slog.Level, message string) {
	ordered := cause != nil && IsMeant(cause)
	message = "request"
	switch {
	case gone:
		message = "client gone"
	case ordered:
	case status >= http.StatusInternalServerError:
		message = "request failed"
	}
	switch {
	case ordered && !aborted:
		return slog.LevelInfo, message
	case status >= http.StatusInternalServerError || aborted && !gone:
		return slog.LevelError, message
	case cause != nil && !gone:
		return slog.LevelWarn, message
	}
	return slog.LevelInfo, message
}

// Clip shortens what a client sent for a log line, and leaves out a login in a URL.
func Clip(s string) string {
	s = fields.WithoutLogin(s)
	if len(s) > 200 {
		return s[:200] + "..."
	}
	return s
}
