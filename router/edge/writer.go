package edge

import (
	"bufio"
	"context"
	"errors"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/foretier/foretier/internal/transit"
	"github.com/foretier/foretier/router/edge/internal/h1"
)

// An exchange is the ResponseWriter of one request: what it leads to are a
// server's writer and body, which serve another request, or nobody, once the
// handler has returned. So nobody reaches them but through here, and then no
// more: see retire.
//
// It remembers what went through it, and adds to the final header what is the
// edge's to add. A small response is held until its handler has returned or
// flushed, by the server or, if that is another's, here: as long as nothing of
// it is out, an answer that breaks off can still become an error that a client
// understands. Browsers send a request again, orders too, if they get nothing at
// all.
type exchange struct {
	w      http.ResponseWriter // the server's
	own    own                 // the same, if it is the tier's own; nil: net/http's
	rc     controller          // likewise
	body   *transit.Body       // the request's; nil: there is none
	stall  *stallReader        // between the two; nil: not bounded
	rec    *transit.Record
	hsts   string    // value of Strict-Transport-Security, or ""
	altSvc *string   // value of Alt-Svc; nil: none
	id     [1]string // value of X-Request-Id, as backends get it
	parent [1]string // value of Traceparent, likewise
	duplex bool      // net/http's server does not look after the rest of the body
	span   Span      // in somebody's tracing; nil: none
	shown  *shown    // what is shown of the request's way; nil: nothing
	head   bool      // the request's method is HEAD
	old    bool      // the client speaks HTTP/1.0

	connects bool   // the request asks for a websocket by an extended CONNECT: success would be one
	tunnel   tunnel // what it was given; nil: nothing

	unmount func() // says that nobody need wait for the exchange; nil: it is the server's own

	status int   // of the final header; 0 before
	bytes  int64 // of the body
	left   bool  // the client has: status is for the log, and nothing goes out

	holds  bool    // nothing of the response is out
	length int64   // that it states; -1: unknown
	room   int     // bytes of its body that may be held
	held   *buffer // those that are; nil: nothing is held

	life        sync.RWMutex // read-locked by whoever uses w or rc
	over        bool         // guarded by life: the handler has returned
	interrupted atomic.Bool  // somebody has ended the reading of the body, not the client
}

var exchanges = sync.Pool{New: func() any { return new(exchange) }}

// Reuse implements [transit.Reusable].
func (ex *exchange) Reuse() {
	*ex = exchange{}
	exchanges.Put(ex)
}

// A controller is what [http.ResponseController] controls.
type controller interface {
	FlushError() error
	Hijack() (net.Conn, *bufio.ReadWriter, error)
	SetReadDeadline(time.Time) error
	SetWriteDeadline(time.Time) error
	EnableFullDuplex() error
}

// An own writer is that of the tier's own server, which holds what it gets.
type own interface {
	controller
	// Retract takes the answer back, if nothing of it is out.
	Retract() bool
	// End says that the connection should end, once what has come on it is answered.
	End()
	// Short reports whether less was written than was announced.
	Short() bool
	// Gone reports whether the client has left, or takes nothing any more.
	Gone() bool
	// Owner returns the connection.
	Owner() h1.Owner
}

// A foreign writer is that of another server.
type foreign struct{ *http.ResponseController }

func (f foreign) FlushError() error { return f.Flush() }

// unknownRoom is how much is held of a body of which the length is unknown, or
// too large to hold all of it: as much as the standard server does.
const unknownRoom = 2 << 10

// use begins a use of w or rc, which done ends. It reports false if the handler
// has returned.
func (ex *exchange) use() bool {
	ex.life.RLock()
	if ex.over {
		ex.life.RUnlock()
		return false
	}
	return true
}

func (ex *exchange) done() { ex.life.RUnlock() }

// Header implements [http.ResponseWriter].
func (ex *exchange) Header() http.Header {
	if !ex.use() {
		return make(http.Header)
	}
	defer ex.done()
	return ex.w.Header()
}

// WriteHeader implements [http.ResponseWriter].
func (ex *exchange) WriteHeader(status int) {
	if !ex.use() {
		return
	}
	defer ex.done()
	if status == transit.StatusGone && ex.status == 0 && ex.rec.Gone() { // a backend's own 499 is an answer
		ex.status, ex.left = status, true
	}
	switch {
	case ex.left:
	case status < 200 && ex.old: // HTTP/1.0 knows no informational responses (RFC 9110, section 15.2)
	case status < 200 && status != http.StatusSwitchingProtocols:
		ex.w.WriteHeader(status)
	default:
		ex.final(status)
	}
}

// final notes the status, completes the header and writes or holds it, once.
func (ex *exchange) final(status int) {
	if ex.status != 0 {
		return
	}
	if ex.connects && status/100 == 2 {
		ex.rec.Fail(errUnswitched)
		status = http.StatusBadGateway
	}
	h := ex.complete(status)
	if ex.hold(h); !ex.holds {
		ex.w.WriteHeader(status)
	}
}

// complete notes the status and adds to the header what is the edge's to add.
func (ex *exchange) complete(status int) http.Header {
	ex.status = status
	h := ex.w.Header()
	h["X-Request-Id"] = ex.id[:] // a backend's, or a stored response's, names another request
	if ex.hsts != "" && h["Strict-Transport-Security"] == nil {
		h["Strict-Transport-Security"] = []string{ex.hsts}
	}
	if ex.altSvc != nil && h["Alt-Svc"] == nil {
		h["Alt-Svc"] = []string{*ex.altSvc}
	}
	if ex.duplex && ex.body.Err() != io.EOF {
		h["Connection"] = []string{"close"} // it may take the rest for the next request
	}
	if ex.shown != nil {
		ex.shown.add(h, ex.rec, time.Now())
	}
	return h
}

// hold begins to hold the response, unless it has no body, or one of which each
// byte matters when it comes, or trailers, which the handler puts into the
// header map once the header should be out.
func (ex *exchange) hold(h http.Header) {
	if ex.own != nil || ex.status < 200 || ex.status == http.StatusNoContent || ex.status == http.StatusNotModified ||
		h["Trailer"] != nil || h["X-Accel-Buffering"] != nil && strings.EqualFold(h.Get("X-Accel-Buffering"), "no") {
		return
	}
	ex.holds = true
	ex.length, ex.room = -1, unknownRoom
	if lines := h["Content-Length"]; len(lines) == 1 {
		if n, err := strconv.ParseInt(lines[0], 10, 64); err == nil && n >= 0 {
			if ex.length = n; n <= heldMost {
				ex.room = int(n)
			}
		}
	}
	ex.held = buffers.Get().(*buffer)
	ex.held.note(h)
}

// deliver hands on what was held, in one piece if it is flushed at once.
func (ex *exchange) deliver(flush bool) error {
	if !ex.holds {
		if flush {
			return ex.rc.FlushError()
		}
		return nil
	}
	ex.holds = false
	h := ex.w.Header()
	later := ex.held.restore(h)
	ex.w.WriteHeader(ex.status)
	if later != nil {
		clear(h)
		maps.Copy(h, later)
	}
	var err error
	if len(ex.held.body) > 0 {
		_, err = ex.w.Write(ex.held.body)
	}
	ex.drop()
	if flush {
		err = errors.Join(err, ex.rc.FlushError())
	}
	return err
}

// drop gives the buffer back.
func (ex *exchange) drop() {
	ex.held.free()
	ex.held = nil
}

// Write implements [http.ResponseWriter].
func (ex *exchange) Write(p []byte) (int, error) {
	if !ex.use() {
		return 0, errOver
	}
	defer ex.done()
	if ex.left {
		return len(p), nil
	}
	ex.final(http.StatusOK)
	if ex.holds {
		if len(ex.held.body)+len(p) <= ex.room {
			ex.held.body = append(ex.held.body, p...)
			ex.bytes += int64(len(p))
			return len(p), nil
		}
		if err := ex.deliver(false); err != nil {
			return 0, err
		}
	}
	n, err := ex.w.Write(p)
	ex.bytes += int64(n)
	return n, err
}

// ReadFrom keeps the standard server's way to sendfile. Another source is copied
// write by write: it may break off while all of the response is still held, or
// pause, when the handler has long returned.
func (ex *exchange) ReadFrom(src io.Reader) (int64, error) {
	if file, _ := asFile(src); file == nil {
		buf := buffers.Get().(*buffer)
		defer buf.free()
		return io.CopyBuffer(struct{ io.Writer }{ex}, src, buf.body[:cap(buf.body)])
	}
	if !ex.use() {
		return 0, errOver
	}
	defer ex.done()
	if ex.left {
		return io.Copy(io.Discard, src)
	}
	ex.final(http.StatusOK)
	if err := ex.deliver(false); err != nil {
		return 0, err
	}
	n, err := io.Copy(ex.w, src)
	ex.bytes += n
	return n, err
}

// asFile returns the file that src is, and as much of it as is limited, or nil.
func asFile(src io.Reader) (file *os.File, limited *io.LimitedReader) {
	if limited, _ = src.(*io.LimitedReader); limited != nil {
		src = limited.R
	}
	file, _ = src.(*os.File)
	return file, limited
}

// FlushError serves [http.ResponseController].
func (ex *exchange) FlushError() error {
	if !ex.use() {
		return errOver
	}
	defer ex.done()
	if ex.left {
		return nil
	}
	ex.final(http.StatusOK)
	return ex.deliver(true)
}

// Flush implements [http.Flusher].
func (ex *exchange) Flush() { _ = ex.FlushError() } // a Flusher cannot report

// SetReadDeadline serves [http.ResponseController].
func (ex *exchange) SetReadDeadline(t time.Time) error {
	if !ex.use() {
		return errOver
	}
	defer ex.done()
	if !t.IsZero() && t.Before(time.Now()) {
		ex.interrupted.Store(true)
	}
	if ex.stall != nil {
		return ex.stall.deadline(t)
	}
	return ex.rc.SetReadDeadline(t)
}

// SetWriteDeadline serves [http.ResponseController].
func (ex *exchange) SetWriteDeadline(t time.Time) error {
	if !ex.use() {
		return errOver
	}
	defer ex.done()
	return ex.rc.SetWriteDeadline(t)
}

// EnableFullDuplex serves [http.ResponseController].
func (ex *exchange) EnableFullDuplex() error {
	if !ex.use() {
		return errOver
	}
	defer ex.done()
	return ex.rc.EnableFullDuplex()
}

// gone reports whether r's client has left, or the request has ended otherwise.
func (ex *exchange) gone(r *http.Request) bool {
	if ex.own != nil {
		return ex.own.Gone()
	}
	return context.Cause(r.Context()) != nil
}

// short reports whether the handler has returned from less than it announced.
func (ex *exchange) short() bool {
	if ex.own != nil {
		return ex.own.Short()
	}
	return ex.holds && !ex.head && ex.length > ex.bytes
}

// retract takes the response back, if nothing of it is out, so that another may
// be written.
func (ex *exchange) retract() bool {
	switch {
	case ex.own != nil:
		if !ex.own.Retract() {
			return false
		}
	case ex.status != 0 && !ex.holds:
		return false
	}
	h := ex.w.Header()
	end := h["Connection"] // of this connection, whatever is answered
	clear(h)
	if end != nil {
		h["Connection"] = end
	}
	ex.status, ex.bytes, ex.holds = 0, 0, false
	ex.drop()
	return true
}

var past = time.Unix(1, 0)

// stragglers is how long a write may go on that its handler has not waited for.
const stragglers = 100 * time.Millisecond

// retire ends the exchange once its handler has returned: nobody reads the
// body any more, and what is held goes out. Of a response that is cut off,
// what was written goes out, so that its client sees that there was one.
//
// Like the standard server's, a response goes out when its handler has
// returned: what the handler still does behind the last byte, such as storing
// what it has sent, is done when the client has it.
func (ex *exchange) retire(aborted, gone bool) {
	if ex.body != nil {
		ex.body.Retire(func() bool { return ex.SetReadDeadline(past) == nil })
	}
	if !ex.life.TryLock() {
		// What ends the wait may come late, and must not find another request here.
		ex.rec.Loan.Keep()
		end := time.AfterFunc(stragglers, func() { _ = ex.rc.SetWriteDeadline(past) }) // one without deadlines is waited for
		ex.life.Lock()
		end.Stop()
	}
	defer ex.life.Unlock()
	ex.over = true
	if !aborted && !gone {
		ex.final(http.StatusOK) // a handler that says nothing says that
	}
	switch {
	case ex.own != nil || ex.status == 0 || gone && aborted:
	case aborted:
		_ = ex.rc.FlushError() // it is cut off either way
	case ex.holds:
		// Of a length that is unknown, the server tells it once its handler has returned.
		_ = ex.deliver(ex.length >= 0) // which has closed the connection
	}
	ex.drop()
}
