package edge

import (
	"log/slog"
	"net/http"
	"time"

	"github.com/foretier/foretier/internal/transit"
)

const levelError = slog.LevelError

func attr(key, value string) slog.Attr { return slog.String(key, value) }

// log writes the request's line: see [transit.Grade].
func (s *Server) log(ex *exchange, r *http.Request, rec *transit.Record, status int, took time.Duration, aborted, gone bool) {
	cause := rec.Cause()
	level, message := transit.Grade(status, cause, aborted, gone)
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
		slog.String("target", transit.Clip(r.RequestURI)),
		slog.String("proto", r.Proto),
		slog.Int("status", status),
		slog.Int64("bytes", ex.bytes),
		slog.Float64("took_s", seconds(took)),
	)
	if referer := r.Header.Get("Referer"); referer != "" {
		attrs = append(attrs, slog.String("referer", transit.Clip(referer)))
	}
	if agent := r.Header.Get("User-Agent"); agent != "" {
		attrs = append(attrs, slog.String("agent", transit.Clip(agent)))
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
	s.opts.Logger.LogAttrs(ctx, level, message, attrs...)
}

// seconds is d for a log, to a microsecond.
func seconds(d time.Duration) float64 { return d.Round(time.Microsecond).Seconds() }
