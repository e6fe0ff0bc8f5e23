package http1

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/foretier/foretier/internal/fields"
	"github.com/foretier/foretier/internal/target"
)

// send writes the request, or starts to: a body that is not short is written
// by a goroutine, because the server may answer before it has read it all.
func (cn *conn) send(call *Call) error {
	r := call.Request
	if call.Body == nil || call.enclosed {
		return cn.write(call, call.head)
	}
	if r.ContentLength >= 0 && r.ContentLength <= InlineBody {
		src := call.Body()
		defer src.Close()
		return cn.inline(call, src)
	}
	if err := cn.write(call, call.head); err != nil {
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

// write writes p, and notes whether any of it went out.
func (cn *conn) write(call *Call, p []byte) error {
	n, err := (*sender)(cn).Write(p)
	if n > 0 || err == nil {
		call.sent.Store(true)
	}
	return err
}

// inline writes the head and a body that is short, in one piece if it can.
func (cn *conn) inline(call *Call, src io.Reader) error {
	size := minMemory
	for size < maxMemory/2 && int64(size) < int64(len(call.head))+call.Request.ContentLength {
		size *= 2
	}
	buf := Memory(size)
	defer GiveBack(buf)
	n := 0
	if len(call.head) < len(buf) {
		n = copy(buf, call.head)
	} else if err := cn.write(call, call.head); err != nil {
		return err
	}
	for left := call.Request.ContentLength; left > 0; {
		if n == len(buf) {
			if err := cn.write(call, buf); err != nil {
				return err
			}
			n = 0
		}
		got, err := src.Read(buf[n:min(int64(len(buf)), int64(n)+left)])
		n += got
		if left -= int64(got); err != nil && left > 0 {
			return brokeOff(err)
		}
	}
	return cn.write(call, buf[:n])
}

const (
	roomForHead = 2 << 10           // of a request, which has a body behind it
	mostHere    = maxMemory - 8<<10 // of a body that is sent with its head, in bytes
)

// here reports whether the body is sent with its head if that leaves room.
func (c *Call) here() bool {
	n := c.Request.ContentLength
	return c.Body != nil && c.Here && n >= 0 && n <= mostHere
}

// room returns how much memory the request is made in.
func (c *Call) room() int {
	size := minMemory
	for c.here() && int64(size) < c.Request.ContentLength+roomForHead {
		size *= 2
	}
	return size
}

// enclose puts the body behind the head, if it is here and there is room.
func (c *Call) enclose() error {
	c.enclosed = false // it may have been, over a server that has changed its mind
	n := int(c.Request.ContentLength)
	if !c.here() || cap(c.head)-len(c.head) < n {
		return nil
	}
	src := c.Body()
	defer src.Close()
	end := len(c.head) + n
	if _, err := io.ReadFull(src, c.head[len(c.head):end]); err != nil {
		return brokeOff(err)
	}
	c.head, c.enclosed = c.head[:end], true
	return nil
}

// Target returns where the request goes, behind Base. It refuses what could be read as two
// requests, or as one for another host.
func (c *Call) Target() (target.Target, error) {
	r, to := c.Request, target.Of(c.Request.URL)
	switch {
	case r.Method != "" && !fields.Token(r.Method):
		return to, fmt.Errorf("%w: method %q", ErrInvalid, r.Method)
	case !fields.HostBytes(r.Host):
		return to, fmt.Errorf("%w: host %q", ErrInvalid, r.Host)
	case !visible(c.Base) || !visible(to.Path) || !visible(to.Query), to.Path[0] != '/' && to.Path != "*":
		return to, fmt.Errorf("%w: target %q", ErrInvalid, r.URL.Redacted())
	}
	for _, name := range c.Trailer {
		if !MayTrail(name) {
			return to, fmt.Errorf("%w: trailer %q", ErrInvalid, name)
		}
	}
	return to, nil
}

// Length returns how long the body is that follows the head, and whether the head says so:
// of one of unknown length it does not, nor that there is none where nobody expects any.
func (c *Call) Length() (n int64, says bool) {
	switch r := c.Request; {
	case c.Body != nil:
		return r.ContentLength, r.ContentLength >= 0
	case r.Method == http.MethodPost || r.Method == http.MethodPut || r.Method == http.MethodPatch:
		return 0, true
	}
	return 0, false
}

// write appends the call's head to b.
func (c *Call) write(b []byte) error {
	r := c.Request
	to, err := c.Target()
	if err != nil {
		return err
	}
	b = append(append(b, cmp.Or(r.Method, http.MethodGet)...), ' ')
	b = to.Append(append(b, c.Base...))
	// A request that came without a host goes on without one: the server's
	// own address is nothing that its client asked for.
	b = append(append(b, " HTTP/1.1\r\nHost: "...), r.Host...)
	b = c.appendFraming(append(b, "\r\n"...))
	if b, err = c.appendFields(b); err != nil {
		return err
	}
	for i, name := range c.Trailer {
		switch {
		case r.ContentLength >= 0:
			continue
		case i == 0:
			b = append(b, "Trailer: "...)
		default:
			b = append(b, ", "...)
		}
		b = append(b, name...)
		if i == len(c.Trailer)-1 {
			b = append(b, "\r\n"...)
		}
	}
	c.head = append(b, "\r\n"...)
	return nil
}

// appendFraming appends the field that says how long the body is.
func (c *Call) appendFraming(b []byte) []byte {
	n, says := c.Length()
	switch {
	case says:
		b = strconv.AppendInt(append(b, "Content-Length: "...), n, 10)
		return append(b, "\r\n"...)
	case c.Body != nil:
		return append(b, "Transfer-Encoding: chunked\r\n"...)
	}
	return b
}

// appendFields appends the fields that are the caller's, and what becomes of the
// connection.
func (c *Call) appendFields(b []byte) ([]byte, error) {
	connection := false
	for name, values := range c.Header {
		id := Known(name)
		if id == other && !isToken(bytesOf(name)) {
			return nil, fmt.Errorf("%w: field name %q", ErrInvalid, name)
		}
		at := len(b)
		for _, v := range values {
			if !isValue(bytesOf(v)) {
				return nil, fmt.Errorf("%w: value of field %s", ErrInvalid, name)
			}
			b = append(append(append(append(b, name...), ": "...), v...), "\r\n"...)
		}
		// A map may hold a name in a spelling that no server tells apart.
		switch id {
		case nameHost, nameContentLength, nameTransferEncoding, nameTrailer:
			b = b[:at]
		case nameConnection:
			connection = true
		case nameUserAgent:
			if len(values) == 1 && values[0] == "" { // asked to say nothing
				b = b[:at]
			}
		case nameAuthorization, nameProxyAuthorization:
			c.login = c.login || login(values)
		}
	}
	if !connection {
		// Some servers tell how long they keep a connection only to those who
		// ask.
		b = append(b, "Connection: keep-alive\r\n"...)
	}
	return b, nil
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
			return brokeOff(err)
		}
	}
	return nil
}

// brokeOff is the failure of a body that ended before its length.
func brokeOff(err error) error {
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return &sourceError{err}
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
			cn.Interrupt()
		}
	}
}

func (u *upload) write() error {
	w := writers.Get().(*bufio.Writer)
	w.Reset((*sender)(u.cn))
	defer func() {
		w.Reset(nil) // or it would keep the connection
		writers.Put(w)
	}()
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

// writers are what bodies go through that are not short.
var writers = sync.Pool{New: func() any { return bufio.NewWriterSize(nil, 16<<10) }}

// chunks writes each piece as it comes: it may be a stream.
func (u *upload) chunks(w *bufio.Writer) error {
	buf := Memory(16 << 10)
	defer GiveBack(buf)
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
