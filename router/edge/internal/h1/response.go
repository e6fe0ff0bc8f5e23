package h1

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"time"
	"unsafe"

	"github.com/foretier/foretier/router/edge/internal/scope"
)

// A response is the ResponseWriter of one request. It belongs to its handler,
// and to nobody once that has returned.
//
// Head and body are held until there is more than goes out at once, the handler
// flushes, or it returns: most answers are one write, of a length that is known,
// and until the first write an answer can be taken back.
type response struct {
	scope scope.Scope // of the request, in the same piece of memory
	answer
}

// An answer is what is known of it. Its zero value but for the first three is that
// of which nothing is.
type answer struct {
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
	w.answer = answer{c: w.c, r: w.r, header: w.header, err: w.err}
	return true
}

// Short reports whether less of the body has been written than was announced.
func (w *response) Short() bool { return w.status != 0 && !w.bare && w.length > w.written }

// End says that the connection should end with this answer, or with that to the
// latest request that has come on it meanwhile.
func (w *response) End() { w.c.ending = true }

// Owner returns the owner of the connection.
func (w *response) Owner() Owner { return w.c.owner }

// Gone reports whether the request has ended before its handler has returned: the
// client has left, or takes nothing any more.
func (w *response) Gone() bool { return w.scope.Over() }

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
