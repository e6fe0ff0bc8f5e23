package fcgi

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/foretier/foretier/health"
	"github.com/foretier/foretier/internal/fields"
	"github.com/foretier/foretier/internal/http1"
	"github.com/foretier/foretier/internal/transit"
)

// A transport is the way to one server of FastCGI.
type transport struct {
	site   *Site
	name   string
	target health.Target
	dialer net.Dialer
}

// NoChunks tells the pool that a body has to have a length (RFC 3875, section 4.1.2).
func (t *transport) NoChunks() bool { return true }

// RoundTrip implements [http.RoundTripper].
func (t *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	switch run, root := t.site.findNow(r.URL); {
	case run.to != "":
		status := http.StatusMovedPermanently
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			status = http.StatusPermanentRedirect
		}
		return own(r, status, http.Header{"Location": {run.to}}), nil
	case run.script == "":
		return own(r, http.StatusNotFound, http.Header{"Content-Type": {"text/plain; charset=utf-8"}}), nil
	default:
		return t.run(r, run, root)
	}
}

// own is an answer of the site's own.
func own(r *http.Request, status int, header http.Header) *http.Response {
	closeBody(r)
	res := response(r, status, header)
	text := http.StatusText(status) + "\n"
	if res.ContentLength = int64(len(text)); r.Method == http.MethodHead {
		text = ""
	}
	res.Body = io.NopCloser(strings.NewReader(text))
	return res
}

func response(r *http.Request, status int, header http.Header) *http.Response {
	return &http.Response{
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Request: r, Header: header, ContentLength: -1,
		StatusCode: status, Status: fmt.Sprintf("%d %s", status, http.StatusText(status)),
	}
}

// closeBody does what RoundTrip must, of a request that was not sent.
func closeBody(r *http.Request) {
	if r.Body != nil {
		_ = r.Body.Close() // of what is not sent nothing is wanted
	}
}

// buffers are for requests as they are sent, readers for what is answered.
var (
	buffers = sync.Pool{New: func() any { return new([bufferSize]byte) }}
	readers = sync.Pool{New: func() any { return bufio.NewReaderSize(nil, bufferSize) }}
)

const bufferSize = 16 << 10

// run has the server run a script.
func (t *transport) run(r *http.Request, run found, root string) (*http.Response, error) {
	buf := buffers.Get().(*[bufferSize]byte)
	defer buffers.Put(buf)
	b, err := appendParams(appendBegin(buf[:0]), r, run, root)
	if errors.Is(err, errLarge) {
		return own(r, http.StatusRequestHeaderFieldsTooLarge, make(http.Header)), nil
	}
	body := r.ContentLength != 0 && r.Body != nil && r.Body != http.NoBody
	if body && r.ContentLength < 0 {
		return own(r, http.StatusLengthRequired, make(http.Header)), nil
	}
	if !body {
		b = appendHeader(b, kindStdin, 0)
	}
	ctx := r.Context()
	nc, err := t.target.Dial(ctx, &t.dialer)
	if err != nil {
		closeBody(r)
		return nil, err
	}
	trace := httptrace.ContextClientTrace(ctx)
	if trace == nil {
		trace = new(httptrace.ClientTrace)
	}
	if trace.WroteHeaders != nil {
		trace.WroteHeaders()
	}
	c := &call{ctx: ctx, nc: nc, request: r, script: run.script, from: t}
	c.stop = context.AfterFunc(ctx, func() { _ = nc.Close() })
	if err := c.write(b); err != nil {
		return nil, c.fail(err)
	}
	if body {
		go c.upload(trace)
	} else {
		closeBody(r)
		wrote(trace)
	}
	return c.receive()
}

// wrote tells that all of the request was sent.
func wrote(trace *httptrace.ClientTrace) {
	if trace.WroteRequest != nil {
		trace.WroteRequest(httptrace.WroteRequestInfo{})
	}
}

// A call is a request on its connection, and its answer's body.
type call struct {
	ctx     context.Context // of the request: for the cause of an error
	nc      net.Conn
	request *http.Request
	script  string
	from    *transport
	stop    func() bool // the connection is closed at the context's end no more

	lost atomic.Pointer[error] // why the request's body could not be read
	once sync.Once

	in    *bufio.Reader // nil once the answer has been read to its end
	out   answers
	first []byte // of the body: what came with the header
	left  int64  // of what the header says; negative: it does not say
	none  bool   // there is no body, whatever the script prints
	whole bool   // all of it is here
	notes []byte // what the script has written to its log
	long  bool   // and it was more
}

// upload sends the request's body (FastCGI 1.0, section 5.3). It ends with that, or with
// the connection.
func (c *call) upload(trace *httptrace.ClientTrace) {
	defer closeBody(c.request)
	buf := buffers.Get().(*[bufferSize]byte)
	defer buffers.Put(buf)
	left := c.request.ContentLength
	for left > 0 {
		room := buf[headerLen:]
		n, err := c.request.Body.Read(room[:min(int64(len(room)), left)])
		left -= int64(n)
		if n > 0 {
			appendHeader(buf[:0], kindStdin, n)
			if err := c.write(buf[:headerLen+n]); err != nil {
				wrote(trace) // what the server says, or that it is gone, is read
				return
			}
		}
		if err == io.EOF && left > 0 {
			err = io.ErrUnexpectedEOF
		}
		if err != nil && err != io.EOF {
			c.lost.Store(&err)
			_ = c.nc.Close() // a part must not look like the whole
			return
		}
	}
	_ = c.write(appendHeader(buf[:0], kindStdin, 0)) // likewise
	wrote(trace)
}

// stall is how long a server may take nothing of a request.
const stall = time.Minute

func (c *call) write(b []byte) error {
	if err := c.nc.SetWriteDeadline(time.Now().Add(stall)); err != nil {
		return err
	}
	_, err := c.nc.Write(b)
	return err
}

// receive reads the header of the answer.
func (c *call) receive() (*http.Response, error) {
	c.in = readers.Get().(*bufio.Reader)
	c.in.Reset(c.nc)
	c.out = answers{in: c.in, notes: c.note}
	var h head
	n, kept := 0, make([]byte, 0, 1<<10)
	for n == 0 {
		if len(kept) == cap(kept) {
			kept = append(make([]byte, 0, 4*cap(kept)), kept...)
		}
		got, err := c.out.Read(kept[len(kept):cap(kept)])
		if err == io.EOF {
			err = errors.New("fcgi: the script has ended before it said a header")
		}
		kept = kept[:len(kept)+got]
		if err == nil {
			n, err = h.read(kept)
		}
		if err != nil {
			return nil, c.fail(err)
		}
	}
	c.first = kept[n:]
	return c.response(&h), nil
}

// response begins the answer.
func (c *call) response(h *head) *http.Response {
	res := response(c.request, h.status, h.header)
	res.Body = c
	c.left = fields.Length(h.header)
	rest, whole := c.out.rest()
	here := int64(len(c.first) + rest)
	c.none = c.request.Method == http.MethodHead || h.status == http.StatusNoContent || h.status == http.StatusNotModified
	c.whole = whole && (c.none || here >= c.left)
	switch {
	case c.left >= 0:
		res.ContentLength = c.left
	case whole && !c.none:
		res.ContentLength = here
		h.header["Content-Length"] = []string{strconv.FormatInt(here, 10)}
	default:
		// The record at its end says that it is whole, as well as chunks would.
		res.TransferEncoding = []string{"chunked"}
	}
	if c.none { // what is printed all the same is read, and goes nowhere
		c.left = -1
	}
	if h.status == http.StatusNoContent { // RFC 9110, section 8.6
		delete(h.header, "Content-Length")
		res.ContentLength, res.TransferEncoding = 0, nil
	}
	return res
}

// Whole implements [http1.Arriving].
func (c *call) Whole() bool { return c.whole }

var _ http1.Arriving = (*call)(nil)

// Read implements [io.Reader] for the answer's body.
func (c *call) Read(p []byte) (int, error) {
	for {
		if c.left == 0 || c.in == nil {
			c.finish()
			return 0, io.EOF
		}
		if c.left > 0 {
			p = p[:min(int64(len(p)), c.left)]
		}
		n, err := c.read(p)
		switch {
		case err == io.EOF && c.left > 0:
			err = io.ErrUnexpectedEOF
		case err == io.EOF:
			c.finish()
			return 0, io.EOF
		}
		if err != nil {
			return 0, c.fail(err)
		}
		if c.none {
			continue
		}
		if c.left > 0 {
			c.left -= int64(n)
		}
		return n, nil
	}
}

func (c *call) read(p []byte) (int, error) {
	if len(c.first) > 0 {
		n := copy(p, c.first)
		c.first = c.first[n:]
		return n, nil
	}
	return c.out.Read(p)
}

// finish ends an answer that was read to its end.
func (c *call) finish() {
	_ = c.Close()
	if c.in != nil {
		c.in.Reset(nil)
		readers.Put(c.in)
		c.in, c.out.in = nil, nil
		c.tell()
	}
}

// fail ends an answer that broke off, and returns why.
func (c *call) fail(err error) error {
	if lost := c.lost.Load(); lost != nil {
		err = *lost
	} else if c.ctx.Err() != nil {
		err = context.Cause(c.ctx)
	}
	_ = c.Close()
	c.tell()
	return err
}

// Close implements [io.Closer]: of a script that runs it takes its client.
func (c *call) Close() error {
	c.once.Do(func() {
		c.stop()
		_ = c.nc.Close()
		closeBody(c.request)
	})
	return nil
}

// maxNotes is how much of a script's log is kept.
const maxNotes = 2000

// note keeps what the script writes to its log.
func (c *call) note(b []byte) {
	n := min(len(b), maxNotes-len(c.notes))
	c.notes = append(c.notes, b[:n]...)
	c.long = c.long || n < len(b)
}

// tell tells the log of it.
func (c *call) tell() {
	if len(c.notes) == 0 {
		return
	}
	text := strings.ToValidUTF8(strings.TrimSpace(string(c.notes)), "\uFFFD")
	if c.long {
		text += "..."
	}
	c.notes = nil
	s := c.from.site
	if others, ok := s.lines.Allow(time.Now()); ok {
		s.opts.Logger.WarnContext(c.ctx, "a script has logged", "backend", c.from.name, "script", c.script,
			"id", transit.From(c.ctx).ID, "says", text, "unsaid", others)
	}
}
