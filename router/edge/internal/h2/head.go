package h2

import (
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/foretier/foretier/internal/fields"
	"github.com/foretier/foretier/internal/http1"
	"github.com/foretier/foretier/internal/http2"
	"github.com/foretier/foretier/router/edge/internal/h1"
)

// ofConnection reports whether a field is one that HTTP/2 does not have (RFC 9113, section
// 8.2.2).
func ofConnection(name string) bool {
	switch name {
	case "Connection", "Keep-Alive", "Proxy-Connection", "Transfer-Encoding", "Upgrade":
		return true
	}
	return false
}

// compose writes the head, but for what depends on the body.
func (w *response) compose(status int) {
	w.status, w.length, w.fields = status, -1, len(w.header)
	w.bare = w.r.Method == http.MethodHead || !h1.MayHaveBody(status)
	if lists := w.header["Trailer"]; lists != nil {
		w.trailers = h1.AddTrailers(w.trailers, lists)
	}
	w.block = getBuffer()
	b := http2.AppendStatus(*w.block, status)
	var room [32]string
	names := room[:0]
	for name := range w.header {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		values := w.header[name]
		if w.note(name, values) {
			for _, v := range values {
				b = http2.AppendField(b, name, v)
			}
		}
	}
	*w.block = b
}

// note notes what a field says of the answer, and reports whether it is sent as
// it is.
func (w *response) note(name string, values []string) bool {
	switch name {
	case "Content-Length":
		if n, ok := h1.LengthOf(values, w.status); ok {
			w.length = n
		}
		return false
	case "Connection":
		if fields.HasToken(values, "close") {
			w.End()
		}
	case "Content-Type":
		w.typed = true
		return w.status != http.StatusNotModified // RFC 9110, section 15.4.5
	case "Content-Encoding":
		w.typed = w.typed || len(values) > 0 && values[0] != ""
	case "X-Accel-Buffering": // nginx's
		w.eager = len(values) == 1 && fields.EqualFold(values[0], "no")
	case "Date":
		w.dated = true
	}
	return !ofConnection(name) && !strings.HasPrefix(name, http.TrailerPrefix) && !slices.Contains(w.trailers, name)
}

// endHead returns the head with what it still lacks. The body is complete if last.
func (w *response) endHead(last bool) []byte {
	b := *w.block
	if !w.typed && w.heldBytes() > 0 && h1.MayHaveBody(w.status) {
		b = http2.AppendField(b, "Content-Type", http.DetectContentType(*w.held))
	}
	switch {
	case !h1.MayHaveBody(w.status):
	case w.length < 0 && last && (w.written > 0 || !w.bare):
		w.length = w.written
		fallthrough
	case w.length >= 0:
		b = http2.AppendNumber(http2.AppendName(b, "Content-Length"), w.length)
	}
	if !w.dated {
		b = appendDate(b, time.Now())
	}
	*w.block = b
	return b
}

// trailerBlock returns the trailers, nil if there are none: announced, or added to the
// header since it was written.
func (w *response) trailerBlock() (b []byte) {
	if len(w.trailers) == 0 && len(w.header) == w.fields {
		return nil
	}
	for _, name := range slices.Sorted(maps.Keys(w.header)) {
		trailer, prefixed := strings.CutPrefix(name, http.TrailerPrefix)
		if prefixed && http1.MayTrail(trailer) || slices.Contains(w.trailers, name) {
			for _, v := range w.header[name] {
				b = http2.AppendField(b, trailer, v)
			}
		}
	}
	return b
}

// A second is a Date field as it is sent within one second.
type second struct {
	unix  int64
	field []byte
}

var date atomic.Pointer[second]

// appendDate appends the Date field of an answer that is sent now.
func appendDate(b []byte, now time.Time) []byte {
	d := date.Load()
	if d == nil || d.unix != now.Unix() {
		d = &second{now.Unix(), http2.AppendDate(nil, now)}
		date.Store(d)
	}
	return append(b, d.field...)
}
