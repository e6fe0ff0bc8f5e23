package h1

import (
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/foretier/foretier/internal/fields"
	"github.com/foretier/foretier/internal/http1"
)

// inform sends an informational response at once (RFC 9110, section 15.2).
func (w *response) inform(status int) {
	if w.c.head.Minor == 0 {
		return // HTTP/1.0 knows none
	}
	if status == http.StatusContinue {
		w.c.body.told()
	}
	buf := getBuffer(0)
	*buf = http1.AppendInformational((*buf)[:0], status, w.header)
	w.send(*buf)
	putBuffer(buf)
}

// A field is one of a header.
type field struct {
	name   string
	values []string
}

// sorted returns the header in the order in which it is sent, that of its names.
func (w *response) sorted() []field {
	all := w.c.fields[:0]
	for name, values := range w.header {
		all = append(all, field{name, values})
	}
	slices.SortFunc(all, func(a, b field) int { return strings.Compare(a.name, b.name) })
	w.c.fields = all
	return all
}

// compose writes the head, but for what depends on the body.
func (w *response) compose(status int) {
	w.status, w.length, w.fields = status, -1, len(w.header)
	w.bare = w.r.Method == http.MethodHead || !MayHaveBody(status)
	if lists := w.header["Trailer"]; lists != nil {
		w.trailers = AddTrailers(w.trailers, lists)
	}
	w.out = getBuffer(0)
	b := http1.AppendStatus((*w.out)[:0], w.c.head.Minor, status)
	for _, f := range w.sorted() {
		if w.note(f.name, f.values) {
			b = appendField(b, f.name, f.values)
		}
	}
	if _, said := w.header["Date"]; !said {
		b = appendDate(b)
	}
	w.head = len(b)
	b = append(b, room[:headRoom]...)
	w.body = len(b)
	*w.out = b
}

// note notes what a field says of the answer, and reports whether it is sent as
// it is.
func (w *response) note(name string, values []string) bool {
	switch name {
	case "Content-Length":
		if n, ok := LengthOf(values, w.status); ok {
			w.length = n
		}
		return false
	case "Transfer-Encoding":
		w.typed = true
		w.identity = len(values) == 1 && fields.EqualFold(values[0], "identity")
		return false
	case "Connection":
		w.close = w.close || fields.HasToken(values, "close")
		w.stays = fields.HasToken(values, "keep-alive")
		return !w.close
	case "Content-Type":
		w.typed = true
		return w.status != http.StatusNotModified // RFC 9110, section 15.4.5
	case "X-Accel-Buffering": // nginx's
		w.eager = len(values) == 1 && fields.EqualFold(values[0], "no")
	case "Content-Encoding":
		w.typed = w.typed || len(values) > 0 && values[0] != ""
	}
	return !strings.HasPrefix(name, http.TrailerPrefix) && !slices.Contains(w.trailers, name)
}

func appendField(b []byte, name string, values []string) []byte {
	for _, v := range values {
		b = http1.AppendField(b, name, v)
	}
	return b
}

// endHead appends what the head still lacks. The body is complete if last.
func (w *response) endHead(b []byte, last bool) []byte {
	held := (*w.out)[w.body:]
	if !w.typed && len(held) > 0 && MayHaveBody(w.status) {
		b = append(append(append(b, "Content-Type: "...), http.DetectContentType(held)...), "\r\n"...)
	}
	old := w.c.head.Minor == 0
	counted := true // the end of the body shows without closing the connection
	switch {
	case !MayHaveBody(w.status):
	case w.length >= 0:
		b = appendLength(b, w.length)
	case last && !w.hasTrailers() && (w.written > 0 || !w.bare):
		b = appendLength(b, w.written)
		w.length = w.written
	case w.bare:
	case old || w.identity:
		counted = false
	default:
		w.chunk = true
		b = append(b, "Transfer-Encoding: chunked\r\n"...)
	}
	w.close = w.close || !counted || w.c.head.Close || w.c.ends()
	switch {
	case w.close && !old:
		b = append(b, "Connection: close\r\n"...)
	case !w.close && old && !w.stays:
		b = append(b, "Connection: keep-alive\r\n"...)
	}
	return append(b, "\r\n"...)
}

func appendLength(b []byte, n int64) []byte {
	return append(strconv.AppendInt(append(b, "Content-Length: "...), n, 10), "\r\n"...)
}

// hasTrailers reports whether there are trailers: announced, or added to the
// header since it was written.
func (w *response) hasTrailers() bool {
	if len(w.trailers) > 0 {
		return true
	}
	if len(w.header) != w.fields {
		for name := range w.header {
			if strings.HasPrefix(name, http.TrailerPrefix) {
				return true
			}
		}
	}
	return false
}

// appendTrailers appends the end of a chunked body, behind its last chunk
// (RFC 9112, section 7.1.2).
func (w *response) appendTrailers(b []byte) []byte {
	if w.hasTrailers() {
		for _, f := range w.sorted() {
			trailer, prefixed := strings.CutPrefix(f.name, http.TrailerPrefix)
			if prefixed && http1.MayTrail(trailer) || slices.Contains(w.trailers, f.name) {
				b = appendField(b, trailer, f.values)
			}
		}
	}
	return append(b, "\r\n"...)
}
