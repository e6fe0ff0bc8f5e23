package edge

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/foretier/foretier/internal/fields"
	"github.com/foretier/foretier/internal/transit"
	"github.com/foretier/foretier/router/edge/internal/logline"
	"github.com/foretier/foretier/router/edge/internal/memo"
)

const levelError = slog.LevelError

func attr(key, value string) slog.Attr { return slog.String(key, value) }

// An access is what the log says of a request.
type access struct {
	began         time.Time
	took          time.Duration
	id            requestID
	trace         string // of which trace it is part; empty: nobody knows
	span          Span   // to be ended with what the line says; nil: none
	client        netip.Addr
	method        string
	scheme        string
	host, target  string
	proto         string
	status        int
	bytes         int64
	referer       string
	agent         string
	record        *transit.Record // whose notes it tells; nil: notes are those
	notes         []memo.Note
	memo          *memo.Memo // whose answer has gone out as it is; nil: another's
	cause         error
	aborted, gone bool
	hit           bool // it was answered from a cache alone
	sampled       int  // for how many requests the line stands; 0: for itself
	lent          bool // its texts are a connection's, which reuses them
}

// logged is a client as logs have it.
func (s *Server) logged(client netip.Addr) netip.Addr {
	if s.opts.AnonymousLog {
		return anonymous(client)
	}
	return client
}

// log ends a's span and writes a's line: see [transit.Grade].
func (s *Server) log(ctx context.Context, a *access) {
	level, message := transit.Grade(a.status, a.cause, a.aborted, a.gone)
	a.client = s.logged(a.client)
	if a.span != nil {
		a.endSpan()
	}
	if s.lines != nil {
		l := logLines.Get().(*logline.Line)
		l.B = appendCombined(l.B[:0], a)
		_, _ = s.lines.Write(l.B) // which never fails
		logLines.Put(l)
	}
	if (s.opts.NoAccessLog || s.lines != nil) && (a.cause == nil || level < slog.LevelWarn) {
		return
	}
	if a.sampled = s.samples(a); a.sampled < 0 {
		return
	}
	if s.plain != nil {
		if !s.plain.Enabled(ctx, level) || s.plain.access(a, level, message) {
			return
		}
	}
	s.logRecord(ctx, a, level, message)
}

// slowHit is how long a hit takes whose line is never left out.
const slowHit = time.Second

// samples returns for how many requests a's line stands, 0 for itself alone, and a
// negative number if others stand for it: see [Options.SampleHits].
func (s *Server) samples(a *access) int {
	n := s.opts.SampleHits
	switch {
	case n <= 1 || !a.hit || a.cause != nil || a.status >= http.StatusBadRequest || a.took >= slowHit:
		return 0
	case rand.IntN(n) != 0:
		return -1
	}
	return n
}

// access writes a's line, if it is all of kinds that are known here.
func (h *LogHandler) access(a *access, level slog.Level, message string) bool {
	l := h.line()
	defer logLines.Put(l)
	ok := l.Begin(a.began.Add(a.took), level, message)
	l.Raw(h.with)
	if a.id.given != "" {
		l.String("id", a.id.given)
	} else {
		l.Word("id", string(a.id.made[:])) // which takes no memory
	}
	if a.trace != "" {
		l.Word("trace", a.trace)
	}
	l.Addr("client", a.client)
	said := h.said(a)
	if said != nil {
		l.Raw(said.Request)
	} else {
		a.writeRequest(l)
	}
	l.Seconds("took_s", a.took)
	if a.referer != "" {
		clipped(l, "referer", a.referer)
	}
	if a.agent != "" {
		clipped(l, "agent", a.agent)
	}
	if said != nil {
		l.Raw(said.Notes)
	} else {
		ok = a.writeNotes(l) && ok
	}
	if a.record != nil {
		ok = a.record.EachNote(func(part string, value slog.LogValuer) bool {
			return l.Value(part, slog.AnyValue(value))
		}) && ok
	}
	if a.aborted {
		l.True("aborted")
	}
	if a.sampled > 0 {
		l.Int("sampled", int64(a.sampled))
	}
	if a.cause != nil {
		l.String("cause", a.cause.Error())
	}
	if ok {
		_ = h.end(l) // a log that cannot be written must not stop the shop
	}
	return ok
}

// said is what a's line says as the one before of the same answer did, or nil.
func (h *LogHandler) said(a *access) *memo.Said {
	if a.memo == nil {
		return nil
	}
	said := &a.memo.Said[0]
	if a.proto == "HTTP/2.0" {
		said = &a.memo.Said[1]
	}
	s := said.Load()
	if s == nil || s.JSON != h.opts.JSON {
		l := logline.Line{JSON: h.opts.JSON}
		l.Continue() // behind the client
		a.writeRequest(&l)
		n := len(l.B)
		odd := !a.writeNotes(&l)
		s = &memo.Said{JSON: h.opts.JSON, Odd: odd, Request: l.B[:n:n], Notes: l.B[n:]}
		said.Store(s)
	}
	if s.Odd {
		return nil
	}
	return s
}

// writeRequest writes what was asked and answered.
func (a *access) writeRequest(l *logline.Line) {
	l.String("method", a.method)
	l.Word("scheme", a.scheme)
	l.String("host", a.host)
	clipped(l, "target", a.target)
	l.String("proto", a.proto)
	l.Int("status", int64(a.status))
	l.Int("bytes", a.bytes)
}

// writeNotes writes a memo's notes, if they are all of kinds that are known here.
func (a *access) writeNotes(l *logline.Line) bool {
	for _, n := range a.notes {
		if !l.Value(n.Part, n.Value) {
			return false
		}
	}
	return true
}

// clipped writes what a client sent.
func clipped(l *logline.Line, key, value string) { l.String(key, transit.Clip(value)) }

// logRecord writes a's line by whatever handler there is, which may keep it.
func (s *Server) logRecord(ctx context.Context, a *access, level slog.Level, message string) {
	if a.record != nil {
		a.record.Loan.Keep() // the handler may keep ctx, and what resolves the notes
	}
	if !s.opts.Logger.Enabled(ctx, level) {
		return
	}
	l := attrLists.Get().(*attrList)
	defer l.free()
	l.attrs = a.appendAttrs(l.attrs)
	// Not by LogAttrs, which looks up for each line where it is called.
	line := slog.NewRecord(a.began.Add(a.took), level, message, here)
	line.AddAttrs(l.attrs...)
	_ = s.opts.Logger.Handler().Handle(ctx, line) // as LogAttrs does
}

// appendAttrs appends what a's line says, for whoever may keep it.
func (a *access) appendAttrs(attrs []slog.Attr) []slog.Attr {
	keep := func(text string) string {
		if a.lent {
			return strings.Clone(text)
		}
		return text
	}
	attrs = append(attrs, slog.String("id", keep(a.id.String())))
	if a.trace != "" {
		attrs = append(attrs, slog.String("trace", keep(a.trace)))
	}
	attrs = append(attrs,
		slog.String("client", a.client.String()),
		slog.String("method", a.method),
		slog.String("scheme", a.scheme),
		slog.String("host", keep(a.host)),
		slog.String("target", keep(transit.Clip(a.target))),
		slog.String("proto", a.proto),
		slog.Int("status", a.status),
		slog.Int64("bytes", a.bytes),
		slog.Float64("took_s", seconds(a.took)),
	)
	if a.referer != "" {
		attrs = append(attrs, slog.String("referer", keep(transit.Clip(a.referer))))
	}
	if a.agent != "" {
		attrs = append(attrs, slog.String("agent", keep(transit.Clip(a.agent))))
	}
	for _, n := range a.notes {
		attrs = append(attrs, slog.Attr{Key: n.Part, Value: n.Value})
	}
	if a.record != nil {
		for part, value := range a.record.Notes() {
			attrs = append(attrs, slog.Any(part, value))
		}
	}
	if a.aborted {
		attrs = append(attrs, slog.Bool("aborted", true))
	}
	if a.sampled > 0 {
		attrs = append(attrs, slog.Int("sampled", a.sampled))
	}
	if a.cause != nil {
		attrs = append(attrs, slog.String("cause", a.cause.Error()))
	}
	return attrs
}

// appendAttempts appends what a pool did for the request.
func (a *access) appendAttempts(attrs []slog.Attr) []slog.Attr {
	if a.record == nil {
		return attrs
	}
	for _, value := range a.record.Notes() {
		if pool, ok := value.(interface{ Attempts() (int, string) }); ok {
			n, backend := pool.Attempts()
			attrs = append(attrs, slog.String("backend", backend), slog.Int("attempts", n))
		}
	}
	return attrs
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

// accessOf tells of a request that the chain has served.
func accessOf(ex *exchange, r *http.Request, rec *transit.Record, status int) access {
	return access{
		id: requestID{given: rec.ID}, client: rec.Client, scheme: rec.Scheme,
		method: r.Method, host: fields.AfterLogin(r.Host), target: r.RequestURI, proto: r.Proto,
		status: status, bytes: ex.bytes,
		referer: r.Header.Get("Referer"), agent: r.Header.Get("User-Agent"),
		record: rec, cause: rec.Cause(), hit: rec.Hit, trace: rec.Trace, span: ex.span,
	}
}
