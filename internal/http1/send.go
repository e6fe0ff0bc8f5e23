package http1

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/foretier/foretier/internal/fields"
)

// send writes the request, or starts to: a body that is not short is written
// by a goroutine, because the server may answer before it has read it all.
func (cn *conn) send(call *Call) error {
	r := call.Request
	if call.Body == nil {
		cn.head(call, framing(r, false))
		return cn.flush(call)
	}
	chunked := r.ContentLength < 0
	cn.head(call, framing(r, true))
	if !chunked && r.ContentLength <= inlineBody {
		src := call.Body()
		defer src.Close()
		call.sent.Store(true) // a full buffer flushes itself
		if err := copyExactly(cn.bw, src, r.ContentLength); err != nil {
			return err
		}
		return cn.bw.Flush()
	}
	if err := cn.flush(call); err != nil {
		return err
	}
	cn.upload = &upload{cn: cn, call: call, src: call.Body()}
	// The wait for the header begins when all has been sent; meanwhile it
	// bounds each write.
	cn.stall = max(call.Wait, 0)
	if err := cn.nc.SetDeadline(time.Time{}); err != nil {
		return err
	}
	if call.Uploads != nil {
		call.Uploads.Go(cn.upload.run)
	} else {
		go cn.upload.run()
	}
	return nil
}

// flush writes what is buffered, and notes whether any of it went out.
func (cn *conn) flush(call *Call) error {
	n := cn.bw.Buffered()
	err := cn.bw.Flush()
	// After an error, what was written has been moved out of the buffer.
	if err == nil || cn.bw.Buffered() < n {
		call.sent.Store(true)
	}
	return err
}

// framing returns the field that says how long the body is.
func framing(r *http.Request, body bool) string {
	switch {
	case body && r.ContentLength < 0:
		return "Transfer-Encoding: chunked\r\n"
	case body:
		return "Content-Length: " + strconv.FormatInt(r.ContentLength, 10) + "\r\n"
	case r.Method == http.MethodPost || r.Method == http.MethodPut || r.Method == http.MethodPatch:
		return "Content-Length: 0\r\n"
	}
	return ""
}

// head writes the request line and the fields. Errors stay with the buffer.
func (cn *conn) head(call *Call, framing string) {
	r, w, to := call.Request, cn.bw, call.to
	method := cmp.Or(r.Method, http.MethodGet)
	for _, s := range [...]string{method, " ", call.Base, to.Path} {
		_, _ = w.WriteString(s)
	}
	if to.Mark {
		_ = w.WriteByte('?')
		_, _ = w.WriteString(to.Query)
	}
	// A request that came without a host goes on without one: the server's
	// own address is nothing that its client asked for.
	for _, s := range [...]string{" HTTP/1.1\r\nHost: ", r.Host, "\r\n", framing} {
		_, _ = w.WriteString(s)
	}
	cn.fields(call.Header)
	if len(call.Trailer) > 0 && r.ContentLength < 0 {
		sep := "Trailer: "
		for _, name := range call.Trailer {
			_, _ = w.WriteString(sep)
			_, _ = w.WriteString(name)
			sep = ", "
		}
		_, _ = w.WriteString("\r\n")
	}
	_, _ = w.WriteString("\r\n")
}

// fields writes the fields that are the caller's, and what becomes of the connection.
func (cn *conn) fields(h http.Header) {
	w, connection := cn.bw, false
	for name, values := range h {
		// A map may hold a name in a spelling that no server tells apart.
		switch http.CanonicalHeaderKey(name) {
		case "Host", "Content-Length", "Transfer-Encoding", "Trailer":
			continue
		case "Connection":
			connection = true
		case "User-Agent":
			if len(values) == 1 && values[0] == "" { // asked to say nothing
				continue
			}
		}
		for _, v := range values {
			for _, s := range [...]string{name, ": ", v, "\r\n"} {
				_, _ = w.WriteString(s)
			}
		}
	}
	if !connection {
		// Some servers tell how long they keep a connection only to those who
		// ask.
		_, _ = w.WriteString("Connection: keep-alive\r\n")
	}
}

// A sourceError is a failure to read the request's body.
type sourceError struct{ err error }

func (e *sourceError) Error() string { return "http1: reading the request's body: " + e.err.Error() }
func (e *sourceError) Unwrap() error { return e.err }

// copyExactly copies n bytes and wants the end after them.
func copyExactly(w *bufio.Writer, src io.Reader, n int64) error {
	for n > 0 {
		if w.Available() == 0 {
			if err := w.Flush(); err != nil {
				return err
			}
		}
		room := w.AvailableBuffer()
		room = room[:min(int64(w.Available()), n)]
		got, err := src.Read(room)
		if _, err := w.Write(room[:got]); err != nil {
			return err
		}
		if n -= int64(got); err != nil && n > 0 {
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return &sourceError{err}
		}
	}
	return nil
}

// An upload writes a request's body while its caller waits for the response.
// Its goroutine ends with the body, or with the connection.
type upload struct {
	cn    *conn
	call  *Call
	src   io.ReadCloser
	whole atomic.Bool
}

func (u *upload) run() {
	defer u.src.Close()
	err := u.write()
	if err == nil {
		u.whole.Store(true)
		u.call.written(u.cn)
		return
	}
	// Nothing more will come: if the server does not say anything, the caller
	// must not wait for it. A server that has answered already has been read.
	u.call.mu.Lock()
	defer u.call.mu.Unlock()
	if u.call.conn == u.cn {
		_ = u.cn.nc.SetReadDeadline(time.Now().Add(grace))
	}
}

// written begins the wait for the header, if it is still cn that the call waits
// on: it may have been sent again, over another.
func (c *Call) written(cn *conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.conn == cn && c.broken == nil && c.Wait > 0 {
		// An error shows at the next read, and so does an interruption.
		_ = cn.nc.SetReadDeadline(time.Now().Add(c.Wait))
		if cn.interrupted.Load() {
			cn.interrupt()
		}
	}
}

func (u *upload) write() error {
	w := u.cn.bw
	if n := u.call.Request.ContentLength; n >= 0 {
		if err := copyExactly(w, u.src, n); err != nil {
			return err
		}
		return w.Flush()
	}
	if err := u.chunks(w); err != nil {
		return err
	}
	_, _ = w.WriteString("0\r\n")
	for _, name := range u.call.Trailer {
		for _, v := range u.call.Request.Trailer[name] {
			if fields.Value(v) {
				fmt.Fprintf(w, "%s: %s\r\n", name, v)
			}
		}
	}
	_, _ = w.WriteString("\r\n")
	return w.Flush()
}

// chunks writes each piece as it comes: it may be a stream.
func (u *upload) chunks(w *bufio.Writer) error {
	buf := make([]byte, 16<<10)
	for {
		n, err := u.src.Read(buf)
		if n > 0 {
			_, _ = w.WriteString(strconv.FormatInt(int64(n), 16))
			_, _ = w.WriteString("\r\n")
			_, _ = w.Write(buf[:n])
			_, _ = w.WriteString("\r\n")
			if err := w.Flush(); err != nil {
				return err
			}
		}
		switch err {
		case nil:
		case io.EOF:
			return nil
		default:
			return &sourceError{err}
		}
	}
}

// done reports whether the whole body was written. A nil upload was.
func (u *upload) done() bool { return u == nil || u.whole.Load() }

// abandon cuts off what would be read of the body.
func (u *upload) abandon() {
	if u != nil {
		_ = u.src.Close()
	}
}
