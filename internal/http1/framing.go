package http1

import (
	"bytes"
	"fmt"
	"io"
	"math"
	"net/http"
)

// The bounds of a chunked body's framing.
const (
	maxChunkLine    = 1 << 10  // bytes of the line in front of a chunk, its extensions included
	maxChunkExcess  = 16 << 10 // bytes of framing beyond 16 a chunk and two for each of data
	maxTrailer      = 4 << 10  // bytes of a request's trailers; twice that of a response's
	maxTrailerLines = 64
)

// A Body reads the body of one message from a connection's buffer, and no byte
// behind it (RFC 9112, sections 6 and 7). It belongs to one goroutine at a time. What
// is malformed ends it with a [*Refusal], a connection that ends inside it with
// [io.ErrUnexpectedEOF].
type Body struct {
	buf     *Buffer
	left    int64 // unread of the body, or of the chunk
	state   part
	err     error // how it has ended; nil: it has not
	excess  int64 // framing that is not warranted by data
	trailer *Head // while one is read
	reply   bool  // of a response
	// Trailer is where the trailers go once the body has ended, added to what is
	// there; nil: nowhere. A request's that say how it is read are left out
	// ([MayTrail]).
	Trailer *http.Header
}

// A part of a body is what is read next.
type part uint8

const (
	inLength   part = iota
	inEnd           // of the connection
	atChunk         // the line in front of one
	inChunk         // its data
	afterChunk      // the CRLF behind that
	atTrailer
)

// Reset makes b the body behind the head h, which has been discarded from buf.
func (b *Body) Reset(buf *Buffer, h *Head) {
	*b = Body{buf: buf, reply: h.Status != 0}
	switch {
	case h.Length == chunked:
		b.state = atChunk
	case h.Length == untilEnd:
		b.state, b.left = inEnd, math.MaxInt64
	case h.Length == 0:
		b.err = io.EOF
	default:
		b.left = h.Length
	}
}

// Ended reports whether the body was read to its end, trailers included, so that
// what is read next is another message.
func (b *Body) Ended() bool { return b.err == io.EOF }

// Left is how many bytes of the body are unread, if it has a length; else -1, until
// it has ended.
func (b *Body) Left() int64 {
	switch {
	case b.Ended():
		return 0
	case b.state == inLength:
		return b.left
	}
	return -1
}

// Read implements [io.Reader]. It returns what is there, and waits only if there is
// nothing. The end comes with the last bytes where it is known.
func (b *Body) Read(p []byte) (n int, err error) {
	if b.err != nil || len(p) == 0 {
		return 0, b.err
	}
	for b.err == nil {
		switch {
		case b.state != inLength && b.state != inEnd && b.state != inChunk:
			if !b.step(n == 0) {
				return n, b.err
			}
		case n == len(p), n > 0 && b.buf.Buffered() == 0:
			return n, nil
		default:
			n += b.data(p[n:])
		}
	}
	return n, b.err
}

// data reads some of a piece of the body.
func (b *Body) data(p []byte) int {
	n, err := b.buf.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	switch {
	case b.left == 0 && b.state == inChunk:
		b.state = afterChunk // where an error shows again
	case b.left == 0:
		b.err = io.EOF
	case err == io.EOF && b.state != inEnd:
		b.err = io.ErrUnexpectedEOF
	default:
		b.err = err
	}
	return n
}

// step reads what stands between two chunks or behind the last, and reports whether
// it could go on. Unless it may wait, it does so only by what is there.
func (b *Body) step(wait bool) bool {
	for {
		n, err := b.frame(b.buf.Bytes())
		if err != nil {
			b.err = err
			return false
		}
		if n > 0 {
			b.buf.Discard(n)
			return true
		}
		if !wait {
			return false
		}
		if err := b.buf.Fill(); err != nil {
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			b.err = err
			return false
		}
	}
}

// An outline is what is known of a chunked body before it is read.
type outline struct {
	size    int64 // of the data that is here
	whole   bool  // all is here, to the end
	trailed bool  // with trailers behind it
}

// outline reads what p holds of a chunked body, as b would, and leaves b as it is. What is
// malformed is not whole: who reads it is told.
func (b Body) outline(p []byte) (o outline) {
	b.Trailer = nil
	for b.err == nil {
		if b.state == inChunk {
			n := min(b.left, int64(len(p)))
			o.size += n
			if p, b.left = p[n:], b.left-n; b.left > 0 {
				return o
			}
			b.state = afterChunk
		}
		last := b.state == atTrailer
		n, err := b.frame(p)
		if err != nil || n == 0 {
			return o
		}
		o.trailed = last && n > len("\r\n")
		p = p[n:]
	}
	o.whole = true
	return o
}

// frame reads a piece of the framing that p begins with: how many bytes it is, or
// 0 if it is not whole.
func (b *Body) frame(p []byte) (int, error) {
	switch b.state {
	case atChunk:
		return b.chunk(p)
	case afterChunk:
		if len(p) < 2 && (len(p) == 0 || p[0] == '\r') {
			return 0, nil
		}
		if p[0] != '\r' || p[1] != '\n' {
			return 0, refuse(http.StatusBadRequest, "malformed end of a chunk: %q", p[:min(len(p), 2)])
		}
		b.state = atChunk
		return 2, nil
	}
	return b.trailers(p)
}

// chunk reads the line in front of a chunk (RFC 9112, section 7.1).
func (b *Body) chunk(p []byte) (int, error) {
	end := bytes.IndexByte(p[:min(len(p), maxChunkLine)], '\n')
	if end < 0 {
		if len(p) >= maxChunkLine {
			return 0, refuse(http.StatusBadRequest, "a chunk's line has more than %d bytes", maxChunkLine)
		}
		return 0, nil
	}
	size, err := chunkSize(p[:end])
	if err != nil {
		return 0, err
	}
	// Chunks of one byte are honest where they are a stream; extensions with little
	// data behind them are not.
	if b.excess = max(0, b.excess+int64(end)+3-16-2*min(size, maxChunkExcess)); b.excess > maxChunkExcess {
		return 0, refuse(http.StatusBadRequest, "chunks with too little data in them")
	}
	if b.left, b.state = size, inChunk; size == 0 {
		b.state = atTrailer
	}
	return end + 1, nil
}

// chunkSize reads a chunk's line without its LF: hexadecimal digits, then perhaps
// extensions, which nobody needs to know. The CR has to be there (RFC 9112, section
// 2.2).
func chunkSize(line []byte) (size int64, err error) {
	n := 0
	for n < len(line) {
		d := unhex(line[n])
		if d < 0 {
			break
		}
		if size > math.MaxInt64>>4 || n == 16 {
			return 0, refuse(http.StatusBadRequest, "a chunk of too many bytes: %s", beginning(line))
		}
		size = size<<4 | int64(d)
		n++
	}
	rest, ok := bytes.CutSuffix(line[n:], []byte{'\r'})
	if len(rest) > 0 && rest[0] == ';' {
		ok = ok && isValue(rest) && quotesEnd(rest) // or it goes on in the next line, for some
	} else {
		ok = ok && len(bytes.Trim(rest, " \t")) == 0 // some pad it
	}
	if n == 0 || !ok {
		return 0, refuse(http.StatusBadRequest, "malformed line of a chunk: %s", beginning(line))
	}
	return size, nil
}

// quotesEnd reports whether what begins with a quote in s ends there, too (RFC 9110,
// section 5.6.4).
func quotesEnd(s []byte) bool {
	quoted := false
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '"':
			quoted = !quoted
		case quoted && s[i] == '\\':
			i++
		}
	}
	return !quoted
}

func unhex(c byte) int {
	switch {
	case isDigit(c):
		return int(c - '0')
	case 'a' <= c|0x20 && c|0x20 <= 'f':
		return int(c|0x20-'a') + 10
	}
	return -1
}

// trailers reads what stands behind the last chunk, as strictly as a request's
// fields are read (RFC 9112, section 7.1.2).
func (b *Body) trailers(p []byte) (int, error) {
	if b.trailer == nil {
		if len(p) < 2 && (len(p) == 0 || p[0] == '\r') {
			return 0, nil
		}
		if p[0] == '\r' && p[1] == '\n' { // as nearly always
			b.err = io.EOF
			return 2, nil
		}
		b.trailer = new(Head)
		b.trailer.startFields()
	}
	lim := Limits{Size: maxTrailer, Fields: maxTrailerLines, Cookies: 1}
	if b.reply {
		lim.Size = 2 * maxTrailer
	}
	h := b.trailer
	whole, err := h.readFields(p, &lim, ofTrailer)
	if !whole {
		if err != nil {
			err = fmt.Errorf("behind a body: %w", err)
		}
		return 0, err
	}
	h.b = p
	if b.Trailer != nil {
		b.keepTrailers(h)
	}
	b.trailer, b.err = nil, io.EOF
	return h.at, nil
}

// keepTrailers copies the trailers to where they go.
func (b *Body) keepTrailers(h *Head) {
	for i := range h.Len() {
		_, name, value := h.Field(i)
		if name = http.CanonicalHeaderKey(string([]byte(name))); !b.reply && !MayTrail(name) {
			continue
		}
		if *b.Trailer == nil {
			*b.Trailer = make(http.Header)
		}
		(*b.Trailer)[name] = append((*b.Trailer)[name], string([]byte(value)))
	}
}
