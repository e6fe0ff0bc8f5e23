package edge

import (
	"log/slog"
	"net/http"
	"time"

	"github.com/foretier/foretier/internal/transit"
)

const levelError = slog.LevelError

func attr(key, value string) slog.Attr { return slog.String(key, value) }

// log writes the request's line.
func (s *Server) log(ex *exchange, r *http.Request, rec *transit.Record, status int, took time.Duration, aborted, gone bool) {
	cause := rec.Cause()
	ordered := cause != nil && transit.IsMeant(cause)
	level := levelOf(status, cause, ordered, aborted, gone)
	addr := rec.Client
	if s.opts.AnonymousLog {
		addr = anonymous(addr)
	}
	s.combined.write(s.opts.Combined, ex, r, addr, status, time.Now().Add(-took))
	if (s.opts.NoAccessLog || s.opts.Combined != nil) && (cause == nil || level < slog.LevelWarn) {
		return
	}
	ctx := r.Context()
	if !s.opts.Logger.Enabled(ctx, level) {
		return
	}
	attrs := make([]slog.Attr, 0, 20)
	attrs = append(attrs,
		slog.String("id", rec.ID),
		slog.String("client", addr.String()),
		slog.String("method", r.Method),
		slog.String("scheme", rec.Scheme),
		slog.String("host", r.Host),
		slog.String("target", clip(r.RequestURI)),
		slog.String("proto", r.Proto),
		slog.Int("status", status),
		slog.Int64("bytes", ex.bytes),
		slog.Float64("took_s", seconds(took)),
	)
	if referer := r.Header.Get("Referer"); referer != "" {
		attrs = append(attrs, slog.String("referer", clip(referer)))
	}
	if agent := r.Header.Get("User-Agent"); agent != "" {
		attrs = append(attrs, slog.String("agent", clip(agent)))
	}
	for part, value := range rec.Notes() {
		attrs = append(attrs, slog.Any(part, value))
	}
	if aborted {
		attrs = append(attrs, slog.Bool("aborted", true))
	}
	if cause != nil {
		attrs = append(attrs, slog.String("cause", cause.Error()))
	}
	s.opts.Logger.LogAttrs(ctx, level, message(status, gone, ordered), attrs...)
}

// levelOf is the line's: Error for what the tier or a backend failed to serve, Warn
// for other answers that have a cause, else Info, as for what the operator or the
// client has ordered.
func levelOf(status int, cause error, ordered, aborted, gone bool) slog.Level {
	switch {
	case ordered && !aborted:
		return slog.LevelInfo
	case status >= 500 || aborted && !gone:
		return slog.LevelError
	case cause != nil && !gone:
		return slog.LevelWarn
	}
	return slog.LevelInfo
}

// message is the line's: constant, so that logs can be grouped by it.
func message(status int, gone, ordered bool) string {
	switch {
	case gone:
		return "client gone"
	case ordered:
	case status >= http.StatusInternalServerError:
		return "request failed"
	}
	return "request"
}

// seconds is d for a log, to a microsecond.
func seconds(d time.Duration) float64 { return d.Round(time.Microsecond).Seconds() }
