package h2

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"time"
	"unsafe"

	"github.com/foretier/foretier/internal/http2"
	"github.com/foretier/foretier/router/edge/internal/h1"
)

// A response is the ResponseWriter of one request. It belongs to its handler, and to
// nobody once that has returned.
//
// Head and body are held until there is more than goes out at once, the handler flushes,
// or it returns: most answers are one write, of a length that is known, and until the first
// write an answer can be taken back.
type response struct {
	s      *stream
	key    string  // of the websocket that its client asks for, as backends get it; "": it asks for none
	tunnel *tunnel // that a handler has made of the stream; nil: none has
	answer
}

// An answer is what is known of it.
type answer struct {
	r      *http.Request
	header http.Header

	status  int   // of the final header; 0: there is none yet
	fields  int   // that header had, to see whether trailers were added since
	length  int64 // of the body, as announced; -1: it was not
	written int64 // of the body, by the handler
	bare    bool  // no body is sent, whatever is written: HEAD, 204, 304

	eager    bool     // the header says that each write is to go out at once
	typed    bool     // the header says what the body is, or hides that in a coding
	dated    bool     // it has a Date
	trailers []string // canonical names that were announced

	block *[]byte // the head, but for what is known at last; nil: there is none, or it is out
	held  *[]byte // what is held of the body; nil: nothing is
	err   error   // of the first write that failed
}

const mostHeld = 32 << 10 // of one answer

// Header implements [http.ResponseWriter].
func (w *response) Header() http.Header { return w.header }

// WriteHeader implements [http.ResponseWriter].
func (w *response) WriteHeader(status int) {
	if status < 100 || status > 999 {
		panic(fmt.Sprintf("invalid WriteHeader code %v", status)) // as net/http does: the handler is broken
	}
	switch {
	case w.tunnel != nil || w.status != 0 || status == http.StatusSwitchingProtocols: // of which HTTP/2 has none (RFC 9113, section 8.6)
	case status < 200:
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
	case w.bare:
		if w.block != nil { // what is written of it tells what it is
			w.hold(p[:min(len(p), 512)])
		}
	case w.heldBytes()+len(p) <= mostHeld:
		w.hold(p)
		if w.eager {
			return len(p), w.flush(false)
		}
	default:
		if err := w.flush(false); err != nil {
			return 0, err
		}
		if w.err = w.s.send(nil, p, false, nil); w.err != nil {
			return 0, w.err
		}
	}
	return len(p), nil
}

// WriteString implements [io.StringWriter].
func (w *response) WriteString(s string) (int, error) {
	return w.Write(unsafe.Slice(unsafe.StringData(s), len(s))) // which only reads it
}

// admit counts n bytes of the body, if it may have them.
func (w *response) admit(n int) error {
	if w.tunnel != nil {
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

func (w *response) heldBytes() int {
	if w.held == nil {
		return 0
	}
	return len(*w.held)
}

func (w *response) hold(p []byte) {
	if w.held == nil {
		w.held = getBuffer()
	}
	w.held = growBuffer(w.held, len(p))
	*w.held = append(*w.held, p...)
}

// ReadFrom implements [io.ReaderFrom]: src is copied write by write, since it may pause.
func (w *response) ReadFrom(src io.Reader) (int64, error) {
	buf := http2.GetBlock()
	defer http2.PutBlock(buf)
	return io.CopyBuffer(struct{ io.Writer }{w}, src, buf[:])
}

// Flush implements [http.Flusher].
func (w *response) Flush() { _ = w.FlushError() } // a Flusher cannot report

// FlushError serves [http.ResponseController].
func (w *response) FlushError() error {
	if err := w.admit(0); err != nil {
		return err
	}
	return w.flush(false)
}

// flush sends what is held. The answer is over with it if last.
func (w *response) flush(last bool) error {
	if w.err != nil {
		return w.err
	}
	var block, body, trailer []byte
	if last && !w.bare {
		trailer = w.trailerBlock()
	}
	if w.block != nil {
		block = w.endHead(last && trailer == nil)
	}
	if w.held != nil && !w.bare {
		body = *w.held
	}
	if block != nil || len(body) > 0 || last {
		w.err = w.s.send(block, body, last, trailer)
	}
	w.drop()
	return w.err
}

// finish sends what is held once the handler has returned, and reports whether the answer
// is whole.
func (w *response) finish() bool {
	if w.status == 0 {
		w.compose(http.StatusOK)
	}
	if !w.bare && w.length >= 0 && w.written != w.length {
		return false
	}
	return w.flush(true) == nil
}

// Retract takes the answer back, if nothing of it is out, so that another may be written.
func (w *response) Retract() bool {
	if w.status != 0 && w.block == nil || w.tunnel != nil {
		return false
	}
	w.drop()
	w.answer = answer{r: w.r, header: w.header, err: w.err}
	return true
}

// Short reports whether less of the body has been written than was announced.
func (w *response) Short() bool { return w.status != 0 && !w.bare && w.length > w.written }

// End says that the connection should end, once what is on its way is answered.
func (w *response) End() { w.s.c.leave() }

// Owner returns the owner of the connection.
func (w *response) Owner() h1.Owner { return w.s.c.owner }

// Gone reports whether the request has ended before its handler has returned: the client
// has left, has given it up, or takes nothing any more.
func (w *response) Gone() bool { return w.s.scope.Over() }

// drop gives up what is held.
func (w *response) drop() {
	putBuffer(w.held)
	putBuffer(w.block)
	w.held, w.block = nil, nil
}

// SetReadDeadline serves [http.ResponseController].
func (w *response) SetReadDeadline(t time.Time) error { return w.deadline(&w.s.body.readBy, t) }

// SetWriteDeadline serves [http.ResponseController]. An answer that is not written by then
// is given up.
func (w *response) SetWriteDeadline(t time.Time) error { return w.deadline(&w.s.writeBy, t) }

func (w *response) deadline(which *time.Time, t time.Time) error {
	c := w.s.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.out.broken != nil {
		return os.ErrClosed
	}
	*which = t
	w.s.cond.Broadcast() // whoever waits looks again
	return nil
}

// EnableFullDuplex serves [http.ResponseController]: it is always so.
func (w *response) EnableFullDuplex() error { return nil }

// inform sends an informational response at once (RFC 9110, section 15.2).
func (w *response) inform(status int) {
	block := http2.AppendStatus(make([]byte, 0, 256), status)
	for name, values := range w.header {
		if !ofConnection(name) && name != "Content-Length" {
			for _, v := range values {
				block = http2.AppendField(block, name, v)
			}
		}
	}
	c := w.s.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if status == http.StatusContinue {
		w.s.body.waits = false
	}
	if w.s.failed == nil && !w.s.ended {
		c.headersLocked(w.s.id, block, false)
		c.carryOnLocked()
	}
}
