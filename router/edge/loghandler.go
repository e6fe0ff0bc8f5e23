package edge

import (
	"context"
	"io"
	"log/slog"
	"sync"

	"github.com/foretier/foretier/router/edge/internal/logline"
)

// A LogHandler writes the lines of slog's TextHandler or JSONHandler, byte for byte,
// for less: as the handler of [Options.Logger] it is given the line of a request
// without a [slog.Record] of it, and takes no memory for it. It is safe for concurrent
// use. A handler of other's around it, and a group begun by WithGroup, take the usual
// way, with the same lines. For slog's AddSource and ReplaceAttr use its own handlers.
type LogHandler struct {
	opts LogOptions
	w    io.Writer
	slog slog.Handler // to w, for what is not written here
	own  bool         // else all is written by slog
	with []byte       // of the attributes of WithAttrs
}

// LogOptions are options for [NewLogHandler]. The zero value is valid: text, from
// Info on.
type LogOptions struct {
	// JSON has lines be as slog's JSONHandler writes them, not its TextHandler.
	JSON bool
	// Level is the least that is written, and may change while it is; nil means
	// slog.LevelInfo.
	Level slog.Leveler
}

// NewLogHandler returns a handler that writes to w, a line at a time, which w should
// not make anybody wait for: see [LogWriter].
func NewLogHandler(w io.Writer, opts LogOptions) *LogHandler {
	if _, ok := w.(*LogWriter); !ok {
		w = &serialWriter{w: w}
	}
	h := &LogHandler{opts: opts, w: w, own: true}
	std := &slog.HandlerOptions{Level: opts.Level}
	if opts.JSON {
		h.slog = slog.NewJSONHandler(w, std)
	} else {
		h.slog = slog.NewTextHandler(w, std)
	}
	return h
}

// A serialWriter takes one line at a time, whoever writes it.
type serialWriter struct {
	mu sync.Mutex
	w  io.Writer // guarded by mu
}

func (s *serialWriter) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.w.Write(p)
}

// Enabled implements [slog.Handler].
func (h *LogHandler) Enabled(_ context.Context, level slog.Level) bool {
	if h.opts.Level == nil {
		return level >= slog.LevelInfo
	}
	return level >= h.opts.Level.Level()
}

// Handle implements [slog.Handler].
func (h *LogHandler) Handle(ctx context.Context, r slog.Record) error {
	if !h.own {
		return h.slog.Handle(ctx, r)
	}
	l := h.line()
	defer logLines.Put(l)
	ok := l.Begin(r.Time, r.Level, r.Message)
	l.Raw(h.with)
	r.Attrs(func(a slog.Attr) bool {
		ok = ok && l.Value(a.Key, a.Value)
		return ok
	})
	if !ok {
		return h.slog.Handle(ctx, r)
	}
	return h.end(l)
}

// WithAttrs implements [slog.Handler].
func (h *LogHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	with := *h
	with.slog = h.slog.WithAttrs(attrs)
	l := logline.Line{JSON: h.opts.JSON}
	l.Continue() // at what every line begins with
	l.B = append(l.B, h.with...)
	for _, a := range attrs {
		with.own = with.own && l.Value(a.Key, a.Value)
	}
	with.with = l.B
	return &with
}

// WithGroup implements [slog.Handler].
func (h *LogHandler) WithGroup(name string) slog.Handler {
	if name == "" {
		return h
	}
	with := *h
	with.slog, with.own = h.slog.WithGroup(name), false
	return &with
}

// logLines are for lines that are being written.
var logLines = sync.Pool{New: func() any { return &logline.Line{B: make([]byte, 0, 1<<10)} }}

// line returns an empty line, to be given back to logLines.
func (h *LogHandler) line() *logline.Line {
	l := logLines.Get().(*logline.Line)
	l.JSON = h.opts.JSON
	l.Reset()
	return l
}

// end writes a line.
func (h *LogHandler) end(l *logline.Line) error {
	l.End()
	_, err := h.w.Write(l.B)
	return err
}
