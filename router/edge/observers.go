package edge

import (
	"log/slog"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/foretier/foretier/internal/fields"
	"github.com/foretier/foretier/internal/transit"
)

// observes reports whether a client is one of [Options.Observers].
func (s *Server) observes(client netip.Addr) bool { return within(s.opts.Observers, client) }

// shown is what an answer shows of its request's way.
type shown struct {
	began time.Time
	trace bool // in words, too
}

// add adds it to a final header.
func (s *shown) add(h http.Header, rec *transit.Record, now time.Time) {
	lines := h["Server-Timing"] // of the backend's
	h["Server-Timing"] = append(lines[:len(lines):len(lines)], timingOf(rec, now.Sub(s.began)))
	if s.trace {
		h["X-Route-Trace"] = []string{traceOf(rec)}
	}
}

// timingOf is what the parts noted so far as a Server-Timing field, and that the header
// took so long: pool;dur=12.1;desc="web2 0.012s", edge;dur=12.4
func timingOf(rec *transit.Record, took time.Duration) string {
	var b []byte
	for part, value := range rec.Notes() {
		if !fields.Token(part) {
			continue // a key of a user's
		}
		b = append(b, part...)
		if timed, ok := value.(interface{ Took() time.Duration }); ok {
			b = appendMillis(append(b, ";dur="...), timed.Took())
		}
		b = append(b, `;desc="`...)
		text := printable(value.LogValue())
		for i := range len(text) {
			if c := text[i]; c == '"' || c == '\\' {
				b = append(b, '\\')
			}
			b = append(b, text[i])
		}
		b = append(b, `", `...)
	}
	return string(appendMillis(append(b, "edge;dur="...), took))
}

func appendMillis(b []byte, d time.Duration) []byte {
	return strconv.AppendFloat(b, float64(d.Microseconds())/1000, 'f', -1, 64)
}

// traceOf is what the parts noted so far, on one line.
func traceOf(rec *transit.Record) string {
	var b strings.Builder
	for part, value := range rec.Notes() {
		if b.Len() > 0 {
			b.WriteString("; ")
		}
		b.WriteString(printable(slog.StringValue(part)) + "=" + printable(value.LogValue()))
	}
	return b.String()
}

// printable is what a field may have of v.
func printable(v slog.Value) string {
	return strings.Map(func(c rune) rune {
		if c < ' ' || c > '~' {
			return '?'
		}
		return c
	}, v.Resolve().String())
}
