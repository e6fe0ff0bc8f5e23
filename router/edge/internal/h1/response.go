package h1

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
	"unsafe"

	"github.com/foretier/foretier/internal/fields"
	"github.com/foretier/foretier/internal/http1"
)

// A response is the ResponseWriter of one request. It belongs to its handler,
// and to nobody once that has returned.
//
// Head and body are held until there is more than goes out at once, the handler
// flushes, or it returns: most answers are one write, of a length that is known,
// and until the first write an answer can be taken back.
type response struct {
	c      *conn
	r      *http.Request
	header http.Header

	status  int   // of the final header; 0: there is none yet
	fields  int   // that header had, to see whether trailers were added since
	length  int64 // of the body, as announced; -1: it was not
	written int64 // of the body, by the handler
	bare    bool  // no body is sent, whatever is written: HEAD, 204, 304

	eager    bool     // the header says that each write is to go out at once
	typed    bool     // the header says what the body is, or hides that in a coding
	identity bool     // … that the body ends with the connection
	stays    bool     // … that the connection goes on
	close    bool     // the connection ends with this answer
	trailers []string // canonical names that were announced

	out   *[]byte // what is held: fields, room, the body; nil: nothing is
	head  int     // where in out the fields end; 0: the head is out
	body  int     // where in out the body begins
	chunk bool    // the body goes out in chunks
	owes  bool    // the latest chunk still lacks its end
	err   error   // of the first write that failed
}

const (
	mostHeld  = 32 << 10 // of one answer
	headRoom  = 192      // for what is known at last: Content-Type, the framing, Connection, a chunk's size
	chunkRoom = 20       // for a chunk's size, and the end of the one before
)

var room [headRoom]byte

// Header implements [http.ResponseWriter].
func (w *response) Header() http.Header { return w.header }

// WriteHeader implements [http.ResponseWriter].
func (w *response) WriteHeader(status int) {
	if status < 100 || status > 999 {
		panic(fmt.Sprintf("invalid WriteHeader code %v", status)) // as net/http does: the handler is broken
	}
	switch {
	case w.c.hijacked || w.status != 0:
	case status < 200 && status != http.StatusSwitchingProtocols:
		w.inform(status)
	default:
		w.compose(status)
	}
}

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

// names returns the header's names in the order in which they are sent.
func (w *response) names() []string {
	names := w.c.names[:0]
	for name := range w.header {
		names = append(names, name)
	}
	slices.Sort(names)
	w.c.names = names
	return names
}

// compose writes the head, but for what depends on the body.
func (w *response) compose(status int) {
	w.status, w.length, w.fields = status, -1, len(w.header)
	w.bare = w.r.Method == http.MethodHead || !mayHaveBody(status)
	if lists := w.header["Trailer"]; lists != nil {
		w.announce(lists)
	}
	w.out = getBuffer(0)
	b := http1.AppendStatus((*w.out)[:0], w.c.head.Minor, status)
	for _, name := range w.names() {
		if w.note(name, w.header[name]) {
			b = appendField(b, name, w.header[name])
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
		if n, err := strconv.ParseInt(strings.Join(values, ","), 10, 64); err == nil && n >= 0 && mayHaveBody(w.status) {
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

// announce notes the names of trailers.
func (w *response) announce(lists []string) {
	for name := range fields.Members(lists) {
		if name = http.CanonicalHeaderKey(name); http1.MayTrail(name) && !slices.Contains(w.trailers, name) {
			w.trailers = append(w.trailers, name)
		}
	}
}

func appendField(b []byte, name string, values []string) []byte {
	for _, v := range values {
		b = http1.AppendField(b, name, v)
	}
	return b
}

// mayHaveBody reports whether an answer with this status may have a body
// (RFC 9110, section 6.4.1).
func mayHaveBody(status int) bool {
	return status >= 200 && status != http.StatusNoContent && status != http.StatusNotModified
}

// Write implements [http.ResponseWriter].
func (w *response) Write(p []byte) (int, error) {
	if err := w.admit(len(p)); err != nil {
		return 0, err
	}
	switch {
	case w.bare && w.out == nil: // what is held of it would tell what it is
	case w.makeRoom(len(p)):
		*w.out = append(*w.out, p...)
		if w.eager {
			return len(p), w.flush(false, 0)
		}
	default:
		return w.pass(p)
	}
	return len(p), nil
}

// WriteString implements [io.StringWriter].
func (w *response) WriteString(s string) (int, error) {
	return w.Write(unsafe.Slice(unsafe.StringData(s), len(s))) // which only reads it
}

// admit counts n bytes of the body, if it may have them.
func (w *response) admit(n int) error {
	if w.c.hijacked {
		return http.ErrHijacked
	}
	if w.status == 0 {
		w.compose(http.StatusOK)
	}
	switch {
	case n > 0 && w.bare && w.r.Method != http.MethodHead:
		return http.ErrBodyNotAllowed
	case w.length >= 0 && w.written+int64(n) > w.length:
		return http.ErrContentLength
	}
	w.written += int64(n)
	return w.err
}

// makeRoom reports whether n further bytes of the body can be held, for which
// there is room then.
func (w *response) makeRoom(n int) bool {
	if w.out == nil {
		w.out = getBuffer(n + chunkRoom)
		*w.out = append((*w.out)[:0], room[:chunkRoom]...)
		w.head, w.body = 0, chunkRoom
	}
	if held := len(*w.out) - w.body; held+n > mostHeld {
		return false
	}
	w.out = growBuffer(w.out, n)
	return true
}

// pass writes what is held, and p, of which there is too much to hold.
func (w *response) pass(p []byte) (int, error) {
	if w.bare {
		return len(p), w.flush(false, 0)
	}
	now := mostHeld - (len(*w.out) - w.body)
	w.out = growBuffer(w.out, now)
	*w.out = append(*w.out, p[:now]...)
	if err := w.flush(false, len(p)-now); err != nil {
		return 0, err
	}
	w.owes = w.chunk
	w.send(p[now:])
	if w.err != nil {
		return 0, w.err
	}
	return len(p), nil
}

// Flush implements [http.Flusher].
func (w *response) Flush() { _ = w.FlushError() } // a Flusher cannot report

// FlushError serves [http.ResponseController].
func (w *response) FlushError() error {
	if err := w.admit(0); err != nil {
		return err
	}
	return w.flush(false, 0)
}

// flush writes what is held. The answer is over with it if last; else more says
// how many bytes are written behind it, within the same chunk.
func (w *response) flush(last bool, more int) error {
	if w.out == nil {
		if !last || !w.chunk {
			return w.err
		}
		w.makeRoom(0)
	}
	b := *w.out
	var scratch [headRoom]byte
	tail := scratch[:0]
	if w.owes {
		tail, w.owes = append(tail, "\r\n"...), false
	}
	if w.head != 0 {
		w.close = w.c.body.answer() || w.close
		tail = w.endHead(tail, last)
	}
	if w.bare {
		b = b[:w.body]
	}
	n := len(b) - w.body + more
	if w.chunk && n > 0 {
		tail = append(strconv.AppendUint(tail, uint64(n), 16), "\r\n"...)
		if more == 0 {
			b = append(b, "\r\n"...)
		}
	}
	if w.chunk && last {
		b = w.appendTrailers(append(b, "0\r\n"...))
	}
	from := w.body - len(tail)
	copy(b[from:], tail)
	from -= copy(b[from-w.head:], b[:w.head])
	*w.out = b
	if from < len(b) {
		w.send(b[from:])
	}
	putBuffer(w.out)
	w.out, w.head = nil, 0
	return w.err
}

// endHead appends what the head still lacks. The body is complete if last.
func (w *response) endHead(b []byte, last bool) []byte {
	held := (*w.out)[w.body:]
	if !w.typed && len(held) > 0 && mayHaveBody(w.status) {
		b = append(append(append(b, "Content-Type: "...), http.DetectContentType(held)...), "\r\n"...)
	}
	old := w.c.head.Minor == 0
	counted := true // the end of the body shows without closing the connection
	switch {
	case !mayHaveBody(w.status):
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
	w.close = w.close || !counted || w.c.head.Close || w.c.srv.draining.Load()
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
		for _, name := range w.names() {
			trailer, prefixed := strings.CutPrefix(name, http.TrailerPrefix)
			if prefixed && http1.MayTrail(trailer) || slices.Contains(w.trailers, name) {
				b = appendField(b, trailer, w.header[name])
			}
		}
	}
	return append(b, "\r\n"...)
}

// send writes b to the client, unless a write has failed: what follows it would
// be read as something else.
func (w *response) send(b []byte) {
	if w.err != nil {
		return
	}
	if _, w.err = w.c.nc.Write(b); w.err != nil {
		w.c.broken = true
		w.c.gone(w.err)
	}
}

// ReadFrom sends files by the kernel's own way, where nothing stands between.
// Another source is copied write by write: it may pause.
func (w *response) ReadFrom(src io.Reader) (int64, error) {
	limited, _ := src.(*io.LimitedReader)
	file, _ := src.(*os.File)
	if limited != nil {
		file, _ = limited.R.(*os.File)
	}
	if file == nil || w.c.secure != nil {
		return w.copy(src)
	}
	if err := w.admit(0); err != nil {
		return 0, err
	}
	if w.length < 0 || w.bare || !w.typed && w.written == 0 {
		return w.copy(src)
	}
	if err := w.flush(false, 0); err != nil {
		return 0, err
	}
	rest := &io.LimitedReader{R: file, N: w.length - w.written}
	if limited != nil {
		rest.N = min(rest.N, limited.N)
	}
	n, err := w.c.wire.ReadFrom(rest)
	w.written += n
	if limited != nil {
		limited.N -= n
	}
	if err != nil {
		w.err = err
		w.c.broken = true
		w.c.gone(err)
	}
	return n, err
}

func (w *response) copy(src io.Reader) (int64, error) {
	buf := getBuffer(mostHeld)
	defer putBuffer(buf)
	return io.CopyBuffer(struct{ io.Writer }{w}, src, (*buf)[:mostHeld])
}

// finish sends what is held once the handler has returned, and reports whether
// the answer is whole.
func (w *response) finish() bool {
	if w.status == 0 {
		w.compose(http.StatusOK)
	}
	err := w.flush(true, 0)
	return err == nil && (w.bare || w.length < 0 || w.written == w.length)
}

// Retract takes the answer back, if nothing of it is out, so that another may be
// written.
func (w *response) Retract() bool {
	if w.status != 0 && w.head == 0 || w.c.hijacked {
		return false
	}
	w.drop()
	*w = response{c: w.c, r: w.r, header: w.header, err: w.err}
	return true
}

// Short reports whether less of the body has been written than was announced.
func (w *response) Short() bool { return w.status != 0 && !w.bare && w.length > w.written }

// drop gives up what is held.
func (w *response) drop() {
	if w.out != nil {
		putBuffer(w.out)
		w.out, w.head = nil, 0
	}
}

// SetReadDeadline serves [http.ResponseController].
func (w *response) SetReadDeadline(t time.Time) error { return w.c.nc.SetReadDeadline(t) }

// SetWriteDeadline serves [http.ResponseController].
func (w *response) SetWriteDeadline(t time.Time) error { return w.c.nc.SetWriteDeadline(t) }

// EnableFullDuplex serves [http.ResponseController]: it is always so.
func (w *response) EnableFullDuplex() error { return nil }
