package h2

import (
	"net/http"
	"strconv"
	"sync"
	"time"

	x "golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/foretier/foretier/internal/fields"
	"github.com/foretier/foretier/internal/http1"
	"github.com/foretier/foretier/internal/http2"
	"github.com/foretier/foretier/router/edge/internal/h1"
)

// A block is the fields of one stream, as they come in HEADERS and CONTINUATION frames
// (RFC 9113, section 4.3).
type block struct {
	open     bool // more of it has to come
	stream   uint32
	kind     kind
	end      bool // no body follows it
	selfish  bool // the stream should depend on itself
	size     int  // as it came
	frames   int
	trailers http.Header
	wrong    bool // of the trailers: they are none

	known h1.Known // of the answer
	asked bool     // something was since the connection idled

	*work // nil while nothing is asked
}

// A work is what a connection has only while something is asked on it.
type work struct {
	req     http2.Request
	head    http1.Head // of it, in its memory
	scratch []byte     // of an answer's fields
}

var works = sync.Pool{New: func() any { return new(work) }}

// kind is what a block is for.
type kind uint8

const (
	ofRequest kind = iota
	ofTrailers
	ofNothing // its stream was given up
)

const (
	tableSize  = 4 << 10 // of the client's compression (RFC 9113, section 6.5.2)
	mostFrames = 64      // of a block
)

// takeHeaders begins a block.
func (c *conn) takeHeaders(f *http2.Frame) error {
	b := &c.block
	b.stream, b.end, b.size, b.frames = f.Stream, f.Has(x.FlagHeadersEndStream), 0, 0
	b.trailers, b.wrong = nil, false
	b.selfish = f.Depends && f.Priority == f.Stream
	if f.Stream%2 == 0 {
		return protocol("a client's stream with an even number")
	}
	c.mu.Lock()
	switch s := c.streams[f.Stream]; {
	case f.Stream > c.last && c.leaving == parted:
		b.kind = ofNothing // its client was told that it would not be looked at
	case f.Stream > c.last:
		b.kind = ofRequest
		c.last, c.asking = f.Stream, true
	case s != nil && s.body.end == nil:
		b.kind, b.trailers = ofTrailers, make(http.Header)
	case s == nil && c.wasDroppedLocked(f.Stream):
		b.kind = ofNothing
	default:
		c.mu.Unlock()
		return &http2.ConnError{Code: x.ErrCodeStreamClosed, Cause: "HEADERS behind the end of a stream"}
	}
	c.mu.Unlock()
	if c.fields == nil {
		c.fields = hpack.NewDecoder(tableSize, c.field)
		c.fields.SetMaxStringLength(http2.MostBlock(&c.srv.Head))
	}
	if b.work == nil {
		b.work = works.Get().(*work)
	}
	b.open = true
	return c.takeFields(f)
}

// takeFields reads a part of a block.
func (c *conn) takeFields(f *http2.Frame) error {
	b := &c.block
	b.size += len(f.Payload)
	if b.frames++; b.size > http2.MostBlock(&c.srv.Head) || b.frames > mostFrames {
		return calm("CONTINUATION: %d bytes of fields in %d frames", b.size, b.frames)
	}
	if _, err := c.fields.Write(f.Payload); err != nil {
		return &http2.ConnError{Code: x.ErrCodeCompression, Cause: err.Error()}
	}
	if !f.Has(x.FlagHeadersEndHeaders) {
		return nil
	}
	if err := c.fields.Close(); err != nil {
		return &http2.ConnError{Code: x.ErrCodeCompression, Cause: err.Error()}
	}
	b.open = false
	return c.endBlock()
}

// field takes a field of the block.
func (c *conn) field(f hpack.HeaderField) {
	b := &c.block
	switch b.kind {
	case ofRequest:
		b.req.Add(f.Name, f.Value, &c.srv.Head)
	case ofTrailers:
		// A pseudo-field's name is no token. What is large beyond all limits is left out.
		if len(b.trailers) < mostTrailers && b.size < tableSize {
			b.wrong = !http2.AddTrailer(b.trailers, f.Name, f.Value) || b.wrong
		}
	}
}

const mostTrailers = 64 // fields

// endBlock does what a whole block asks for.
func (c *conn) endBlock() error {
	b := &c.block
	switch b.kind {
	case ofTrailers:
		if b.wrong || b.selfish || !b.end {
			return &http2.StreamError{Stream: b.stream, Code: x.ErrCodeProtocol, Cause: "fields behind a body that are no trailers"}
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		if s := c.streams[b.stream]; s != nil && s.body.end == nil {
			return s.body.trailLocked(b.trailers)
		}
	case ofRequest:
		err := c.ask()
		c.mu.Lock()
		c.asking = false
		c.mu.Unlock()
		b.head.Reset()
		b.req.Reset()
		return err
	}
	return nil
}

// ask has a request answered whose fields have come.
func (c *conn) ask() error {
	b := &c.block
	b.asked = true
	if b.selfish {
		return &http2.StreamError{Stream: b.stream, Code: x.ErrCodeProtocol, Cause: "a stream that depends on itself"}
	}
	c.mu.Lock()
	full := len(c.streams) >= c.srv.Streams || c.zombies >= c.srv.Streams
	c.mu.Unlock()
	if full {
		return &http2.StreamError{Stream: b.stream, Code: x.ErrCodeRefusedStream, Cause: "too many streams"}
	}
	err := b.req.Parse(&b.head, &c.srv.Head, b.end)
	if protocol := b.req.Protocol(); err == nil && protocol != "" && !fields.EqualFold(protocol, websocket) {
		err = &http1.Refusal{Status: http.StatusNotImplemented, Cause: "an extended CONNECT to speak " + strconv.Quote(protocol)} // RFC 9220, section 3
	}
	if err == nil {
		if c.instant() {
			return nil
		}
		err = c.serve(b.stream, b.end)
	}
	if err == nil {
		return nil
	}
	no, ok := err.(*http1.Refusal)
	if !ok {
		c.owner.Unread(http.StatusBadRequest, "HTTP/2: malformed: "+err.Error(), b.req.Line())
		return &http2.StreamError{Stream: b.stream, Code: x.ErrCodeProtocol, Cause: err.Error()}
	}
	c.owner.Unread(no.Status, no.Cause, b.req.Line())
	c.decline(no.Status)
	return c.pay(http2.CostRefused, x.FrameHeaders)
}

// decline answers a request that is none with a status, and a line of text if the window
// lets that through.
func (c *conn) decline(status int) {
	b := &c.block
	text := strconv.Itoa(status) + " " + http.StatusText(status) + "\n"
	out := http2.AppendStatus(nil, status)
	out = http2.AppendField(out, "Content-Type", "text/plain; charset=utf-8")
	out = http2.AppendField(out, "X-Content-Type-Options", "nosniff")
	out = http2.AppendField(out, "Cache-Control", "no-store")
	out = appendDate(out, time.Now())
	c.mu.Lock()
	defer c.mu.Unlock()
	if int(min(c.peer.window, http2.Window(c.peer.initial))) < len(text) {
		text = ""
	}
	c.headersLocked(b.stream, out, text == "")
	to := c.roomLocked(len(text) + 64)
	if text != "" {
		c.peer.window.Take(len(text))
		*to = http2.AppendData(*to, b.stream, []byte(text), true)
	}
	if !b.end {
		c.dropLocked(b.stream)
		*to = http2.AppendReset(*to, b.stream, x.ErrCodeNo)
	}
}
