package edge

import (
	"context"
	"encoding/hex"
	"iter"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/foretier/foretier/internal/fields"
	"github.com/foretier/foretier/internal/http1"
	"github.com/foretier/foretier/internal/transit"
	"github.com/foretier/foretier/router/edge/internal/scope"
)

// Tracing says what becomes of traceparent and tracestate, by which the log lines and
// spans of one request are found at all who had a part in it (W3C Trace Context). With
// the zero value both go on as they came, like any other field.
type Tracing struct {
	// Begin has every request be part of a trace, whose id its log line has as "trace". What
	// comes from Trusted goes on untouched, as X-Request-Id does; where that is no
	// traceparent or there is none, a trace is begun, which is said to be sampled, since
	// backends that follow their caller would record nothing else. That of strangers, by
	// which they could have everything recorded or write into somebody's trace, is replaced.
	Begin bool
	// Anybody has that of strangers count too: for pages that are measured in the browser.
	Anybody bool
	// Spans, if not nil, begins a span for each request, and implies Begin: a call when it
	// has come, or when it has been answered if that was from its head. What it returns
	// makes the traceparent that stages below get; nil traces nothing of this request. It
	// holds the request up, and is called concurrently. examples/tracing has one for
	// OpenTelemetry.
	Spans func(Asked) Span
}

// Asked is what a span is begun of.
type Asked struct {
	Came        time.Time
	ID          string     // X-Request-Id
	Client      netip.Addr // as the log has it, anonymous perhaps
	Method      string
	Scheme      string // as the client sees it
	Host        string
	Target      string // path and query as sent, which may hold what is nobody's to know
	Proto       string // HTTP/1.1
	Traceparent string // of whom is believed; valid, or empty: a trace begins here
	Tracestate  string // likewise
}

// A Span is a request's, open until End. Its methods may be called concurrently, Try
// after End too: what a cache fetches may outlive the one who asked for it first.
type Span interface {
	// Context returns ctx with the span, for handlers, clients of stores and transports
	// that look for it there. What it returns ends when ctx does, and not before. ctx may be
	// the connection's, which outlives the request and knows nothing of it: what is to be done
	// at the request's end, End does.
	Context(ctx context.Context) context.Context
	// Traceparent returns the fields that those below get, who are no pools: empty, what
	// came, or what was begun.
	Traceparent() (traceparent, tracestate string)
	// Try begins the span of an attempt at a backend, of that name, below this one. end is
	// called once, when the header of its answer has come or err says why none does; and
	// the backend gets the fields, unless traceparent is empty.
	Try(backend string) (traceparent, tracestate string, end func(status int, err error))
	// End ends the span with what the log line says, the user's own attributes too, and
	// "backend" and "attempts" if a backend was asked. "router" is the rule, "cache" what a
	// cache made of it. attrs makes them when it is ranged over, so that a span of which
	// nothing is kept costs little; it is not to be kept.
	End(attrs iter.Seq[slog.Attr])
}

// traces reports whether requests are part of a trace.
func (t *Tracing) traces() bool { return t.Begin || t.Spans != nil }

// trace makes r part of a trace, and begins its span.
func (s *Server) trace(ex *exchange, r *http.Request, rec *transit.Record, came time.Time, trusted bool) *http.Request {
	parent, state := "", ""
	if lines := r.Header["Traceparent"]; len(lines) == 1 && (trusted || s.opts.Tracing.Anybody) && fields.TraceID(lines[0]) != "" {
		parent, state = lines[0], strings.Join(r.Header["Tracestate"], ",")
	}
	untouched := parent != ""
	if s.opts.Tracing.Spans != nil {
		ex.span = s.opts.Tracing.Spans(Asked{
			Came: came, ID: rec.ID, Client: s.logged(rec.Client), Method: r.Method, Scheme: rec.Scheme, Host: r.Host, Target: r.RequestURI, Proto: r.Proto,
			Traceparent: parent, Tracestate: state,
		})
	}
	if ex.span != nil {
		rec.Span = ex.span
		r = withSpan(ex, r, ex.span)
		if p, st := ex.span.Traceparent(); fields.TraceID(p) != "" {
			parent, state, untouched = p, st, false
		}
	}
	if parent == "" {
		parent = begunTrace()
	}
	if !untouched {
		ex.parent[0] = parent
		r.Header["Traceparent"] = ex.parent[:]
		delete(r.Header, "Tracestate")
		if state != "" {
			r.Header["Tracestate"] = []string{state}
		}
	}
	rec.Trace = fields.TraceID(parent)
	return r
}

// withSpan returns r with span in its context. Where that was made for this call, and
// nobody else has it, the span goes below it: the request stays as it is, and what Context
// is shown is not the request's.
func withSpan(ex *exchange, r *http.Request, span Span) *http.Request {
	if of, ok := r.Context().(*scope.Scope); ok && ex.own != nil {
		of.Context = span.Context(of.Context)
		return r
	}
	return r.WithContext(span.Context(r.Context()))
}

// An ending is what a span is ended with.
type ending struct {
	access
	attrs iter.Seq[slog.Attr] // all, made once
}

var endings = sync.Pool{New: func() any {
	e := new(ending)
	e.attrs = e.all
	return e
}}

// endSpan ends a's span.
func (a *access) endSpan() {
	e := endings.Get().(*ending)
	e.access = *a
	a.span.End(e.attrs)
	e.access = access{}
	endings.Put(e)
}

// all yields what the line says, and what a pool did.
func (e *ending) all(yield func(slog.Attr) bool) {
	l := attrLists.Get().(*attrList)
	defer l.free()
	l.attrs = e.appendAttempts(e.appendAttrs(l.attrs))
	for _, a := range l.attrs {
		a.Value = a.Value.Resolve()
		if !yield(a) {
			return
		}
	}
}

// begunTrace returns the traceparent of a trace that begins here.
func begunTrace() string {
	var b [24]byte
	for i := 0; i < len(b); i += 8 {
		n := rand.Uint64() | 1 // neither id may be zero
		for j := range 8 {
			b[i+j] = byte(n >> (8 * j))
		}
	}
	out := hex.AppendEncode(append(make([]byte, 0, 55), "00-"...), b[:16])
	out = hex.AppendEncode(append(out, '-'), b[16:])
	return string(append(out, "-01"...))
}

var (
	traceparentName = http1.Known("Traceparent")
	tracestateName  = http1.Known("Tracestate")
)

// traceInstant does for what was answered from its head what trace does.
func (c *conn) traceInstant(a *access) {
	head := c.instant.head
	parent, state, lines := "", "", 0
	for i := range head.Len() {
		switch id, _, value := head.Field(i); id {
		case traceparentName:
			lines++
			parent = value
		case tracestateName:
			if state != "" {
				state += ","
			}
			state += value
		}
	}
	tracing := &c.srv.opts.Tracing
	if lines != 1 || !c.trusted && !tracing.Anybody || fields.TraceID(parent) == "" {
		parent, state = "", ""
	}
	if tracing.Spans != nil {
		a.span = tracing.Spans(Asked{
			Came: a.began, ID: a.id.String(), Client: c.srv.logged(a.client), Method: a.method, Scheme: a.scheme, Host: strings.Clone(a.host), Target: strings.Clone(a.target), Proto: a.proto,
			Traceparent: strings.Clone(parent), Tracestate: strings.Clone(state),
		})
	}
	if a.span != nil {
		if p, _ := a.span.Traceparent(); fields.TraceID(p) != "" {
			parent = p
		}
	}
	if parent == "" {
		parent = begunTrace()
	}
	a.trace = fields.TraceID(parent)
}
