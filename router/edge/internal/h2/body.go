package h2

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	x "golang.org/x/net/http2"

	"github.com/foretier/foretier/internal/http1"
	"github.com/foretier/foretier/internal/http2"
)

// A body is that of a request, as its handler reads it: what has come of it and was not
// read yet. One goroutine reads it at a time. All of it is guarded by the connection's mu.
type body struct {
	s        *stream
	pieces   http2.Pieces
	intake   http2.Intake
	got      int64
	given    int64 // of that, to the reader
	want     int64 // as was announced; -1: it was not
	waits    bool  // the client sends nothing before it is told to
	end      error // of what has come: io.EOF, or why no more comes; nil: more may
	readBy   time.Time
	trailers *http.Header // where they go
	tail     http.Header  // that have come
}

func (b *body) begin(s *stream, head *http1.Head, end bool) {
	*b = body{s: s, want: head.Length, waits: head.Expect, intake: http2.NewIntake(streamWindow)}
	if end {
		b.end = io.EOF
	}
}

// announced takes Trailer out of a header, and returns the names that it lists.
func announced(header http.Header) http.Header {
	if header["Trailer"] == nil {
		return nil
	}
	return http1.Announced(header)
}

// Read implements [io.Reader]. A client that waits to be told so is told to send it
// (RFC 9110, section 10.1.1).
func (b *body) Read(p []byte) (int, error) {
	n, err, cause := b.read(p)
	if cause != nil {
		b.s.scope.End(cause)
	}
	return n, err
}

// read is Read. A cause is one to end the request.
func (b *body) read(p []byte) (n int, err, cause error) {
	s, c := b.s, b.s.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if s.returned {
		return 0, http.ErrBodyReadAfterClose, nil
	}
	if b.waits && b.end == nil {
		b.waits = false
		c.headersLocked(s.id, http2.AppendStatus(nil, http.StatusContinue), false)
		c.carryOnLocked()
	}
	var stall time.Time
	for b.readyLocked() == 0 {
		if b.end != nil {
			return 0, b.finish(), nil
		}
		if limit := c.srv.BodyStall; limit > 0 && stall.IsZero() {
			stall = time.Now().Add(limit)
		}
		if waitUntil(&s.cond, earlier(stall, b.readBy)) && b.readyLocked() == 0 && b.end == nil {
			if b.readBy.IsZero() || time.Now().Before(b.readBy) {
				cause = fmt.Errorf("nothing of the body for %v: %w", c.srv.BodyStall, os.ErrDeadlineExceeded)
			}
			return 0, os.ErrDeadlineExceeded, cause
		}
	}
	if !b.readBy.IsZero() && !time.Now().Before(b.readBy) {
		return 0, os.ErrDeadlineExceeded, nil
	}
	n = b.takeLocked(p)
	if b.end == nil {
		c.tellLocked(s.id, &b.intake, n)
	}
	c.tellLocked(0, &c.intake, n)
	if c.out.buf != nil {
		c.carryOnLocked()
	}
	return n, nil, nil
}

// finish returns how the body has ended, and gives its reader the trailers.
func (b *body) finish() error {
	if b.end == io.EOF && b.tail != nil {
		if *b.trailers == nil {
			*b.trailers = make(http.Header)
		}
		for name, values := range b.tail {
			(*b.trailers)[name] = values
		}
		b.tail = nil
	}
	return b.end
}

// readyLocked returns how much may be read. The last byte of a body whose length was
// announced may be once the client has ended it there: else what turns out to be longer, or
// is given up, would be whole for a backend that counts.
func (b *body) readyLocked() int64 {
	n := b.got
	if b.want > 0 && b.end != io.EOF {
		n = min(n, b.want-1)
	}
	return n - b.given
}

// takeLocked takes what may be read into p.
func (b *body) takeLocked(p []byte) (n int) {
	n = b.pieces.Take(p[:min(int64(len(p)), b.readyLocked())])
	b.given += int64(n)
	return n
}

// tellLocked counts n bytes of a window as used, and puts what the client is to be told of it
// where it goes out next.
func (c *conn) tellLocked(id uint32, in *http2.Intake, n int) {
	if tell := in.Used(n); tell > 0 && c.out.broken == nil {
		b := c.bufferLocked()
		*b = http2.AppendWindowUpdate(*b, id, tell)
	}
}

// failLocked says that no more comes.
func (b *body) failLocked(cause error) {
	if b.end == nil {
		b.end = cause
	}
}

// forgetLocked gives up what nobody has read, once nobody will.
func (b *body) forgetLocked() {
	n := b.pieces.Drop()
	b.given = b.got
	if c := b.s.c; n > 0 {
		c.tellLocked(0, &c.intake, n)
		if c.out.buf != nil {
			c.carryOnLocked()
		}
	}
}

// Close implements [io.Closer]. What is left is the server's.
func (*body) Close() error { return nil }

// takeData takes a frame of DATA.
func (c *conn) takeData(f *http2.Frame) error {
	end := f.Has(x.FlagDataEndStream)
	if len(f.Payload) == 0 && !end {
		if err := c.pay(http2.CostFrame, f.Type); err != nil {
			return err
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if f.Stream > c.last {
		return protocol("DATA of a stream that is not there yet")
	}
	if !c.intake.Take(f.Flow) {
		return &http2.ConnError{Code: x.ErrCodeFlowControl, Cause: "more of bodies than the window lets through"}
	}
	s := c.streams[f.Stream]
	if s == nil || s.body.end != nil {
		c.tellLocked(0, &c.intake, f.Flow)
		if s == nil && c.wasDroppedLocked(f.Stream) {
			return nil // the client did not know yet
		}
		return &http2.StreamError{Stream: f.Stream, Code: x.ErrCodeStreamClosed, Cause: "DATA behind the end of a stream"}
	}
	b := &s.body
	if !b.intake.Take(f.Flow) {
		return &http2.StreamError{Stream: f.Stream, Code: x.ErrCodeFlowControl, Cause: "more of a body than its window lets through"}
	}
	if padding := f.Flow - len(f.Payload); padding > 0 {
		c.tellLocked(0, &c.intake, padding)
		c.tellLocked(s.id, &b.intake, padding)
	}
	b.got += int64(len(f.Payload))
	if s.returned {
		c.tellLocked(0, &c.intake, len(f.Payload))
	} else {
		b.pieces.Put(f.Payload)
	}
	err := b.endsLocked(end)
	s.cond.Broadcast()
	return err
}

// endsLocked judges the length of what has come, and ends it if that is all.
func (b *body) endsLocked(end bool) error {
	if b.want >= 0 && (b.got > b.want || end && b.got < b.want) {
		cause := fmt.Sprintf("a body of %d bytes or more, where %d were announced", b.got, b.want)
		if b.got < b.want {
			cause = fmt.Sprintf("a body of %d bytes, where %d were announced", b.got, b.want)
		}
		b.end = &http1.Refusal{Status: http.StatusBadRequest, Cause: cause}
		return &http2.StreamError{Stream: b.s.id, Code: x.ErrCodeProtocol, Cause: cause}
	}
	if end {
		b.end = io.EOF
		if b.s.ended { // a tunnel
			b.s.endLocked()
		}
	}
	return nil
}

// trailLocked takes the trailers, which end the body.
func (b *body) trailLocked(trailers http.Header) error {
	b.tail = trailers
	err := b.endsLocked(true)
	b.s.cond.Broadcast()
	return err
}
