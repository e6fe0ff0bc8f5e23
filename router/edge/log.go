package edge

import (
	"log/slog"
	"net/http"
	"runtime"
	"sync"
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
	l := attrLists.Get().(*attrList)
	defer l.free()
	l.attrs = append(l.attrs,
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
		l.attrs = append(l.attrs, slog.String("referer", transit.Clip(referer)))
	}
	if agent := r.Header.Get("User-Agent"); agent != "" {
		l.attrs = append(l.attrs, slog.String("agent", transit.Clip(agent)))
	}
	for part, value := range rec.Notes() {
		l.attrs = append(l.attrs, slog.Any(part, value))
	}
	if aborted {
		l.attrs = append(l.attrs, slog.Bool("aborted", true))
	}
	if cause != nil {
		l.attrs = append(l.attrs, slog.String("cause", cause.Error()))
	}
	// Not by LogAttrs, which looks up for each line where it is called.
	line := slog.NewRecord(time.Now(), level, message, here)
	line.AddAttrs(l.attrs...)
	_ = s.opts.Logger.Handler().Handle(ctx, line) // as LogAttrs does
}

// here is what a handler with AddSource says of a request's line.
var here = func() uintptr {
	var pc [1]uintptr
	runtime.Callers(1, pc[:])
	return pc[0]
}()

// An attrList is what a line says, for as long as it is written.
type attrList struct{ attrs []slog.Attr }

var attrLists = sync.Pool{New: func() any { return &attrList{make([]slog.Attr, 0, 20)} }}

func (l *attrList) free() {
	clear(l.attrs)
	l.attrs = l.attrs[:0]
	attrLists.Put(l)
}

// seconds is d for a log, to a microsecond.
func seconds(d time.Duration) float64 { return d.Round(time.Microsecond).Seconds() }
