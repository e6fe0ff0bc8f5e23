package h2

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"sync"
	"time"

	"github.com/foretier/foretier/internal/http1"
)

// A Reply is the answer to a call: its head, in memory of its own, and its body.
type Reply struct {
	*http1.Head
	// Trailer has the fields behind the body: at first the names that the head
	// announces, once the body has ended what has come.
	Trailer http.Header

	s      *stream
	ctx    context.Context // of the call, for the cause of an error
	wait   http1.Wait      // for ctx to end
	upload *upload         // of the request; nil: it is sent
	want   int64           // bytes that the body has; -1: nobody says
	read   int64
	err    error // how the body has ended; nil: it has not
	once   sync.Once
}

var errShort = fmt.Errorf("the response is shorter than it says: %w", io.ErrUnexpectedEOF)

// begin looks at the head, which has come.
func (r *Reply) begin() error {
	var lines []string
	for i := range r.Len() {
		if id, _, value := r.Field(i); id == nameTrailer {
			lines = append(lines, value)
		}
	}
	r.Trailer = http1.Announced(http.Header{"Trailer": lines})
	s := r.s
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	r.want = r.Length
	if s.end == io.EOF { // and so all of it is known
		r.trail()
	}
	if s.end != io.EOF || s.pieces.Len() > 0 || s.tail != nil {
		return nil
	}
	if r.want > 0 {
		return errShort
	}
	r.Length = 0 // as is known only here
	return nil
}

// ContentLength is how long the answer is, or would be to another method than HEAD; -1:
// nobody says.
func (r *Reply) ContentLength() int64 {
	n := r.Head.ContentLength()
	if n < 0 && r.Length == 0 && r.s.call.Request.Method != http.MethodHead {
		n = 0
	}
	return n
}

// Response returns the reply as an [http.Response], which is closed in its place.
func (r *Reply) Response() *http.Response {
	res := r.Head.Response(r.s.call.Request, nil)
	res.Proto, res.ProtoMajor, res.ProtoMinor = "HTTP/2.0", 2, 0
	res.ContentLength, res.TransferEncoding, res.Close = r.ContentLength(), nil, false
	delete(res.Header, "Trailer")
	res.Trailer = r.Trailer
	if !r.Ended() {
		res.Body = &responseBody{r, res}
	}
	return res
}

// A responseBody fills in the trailers of a response that was made of a reply.
type responseBody struct {
	*Reply
	res *http.Response
}

func (b *responseBody) Read(p []byte) (int, error) {
	n, err := b.Reply.Read(p)
	if err == io.EOF {
		b.res.Trailer = b.Trailer
	}
	return n, err
}

// Ended reports whether the body has been read to its end, or is none.
func (r *Reply) Ended() bool { return r.Length == 0 || r.err == io.EOF }

// Whole implements [http1.Arriving].
func (r *Reply) Whole() bool {
	s := r.s
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	return s.end == io.EOF && (r.want < 0 || int64(s.pieces.Len()) == r.want)
}

// Read reads the body.
func (r *Reply) Read(p []byte) (int, error) {
	if r.err != nil || r.Length == 0 {
		if r.err == nil {
			r.err = io.EOF
		}
		return 0, r.err
	}
	n, err := r.take(p)
	if err == nil {
		return n, nil
	}
	if err == io.EOF {
		r.trail()
	} else if cause := context.Cause(r.ctx); cause != nil {
		err = cause
	}
	r.err = err
	r.Close()
	return n, err
}

// trail fills in what has come behind the body, which has ended.
func (r *Reply) trail() {
	if r.s.tail == nil {
		return
	}
	if r.Trailer == nil {
		r.Trailer = make(http.Header)
	}
	maps.Copy(r.Trailer, r.s.tail)
}

// take waits for something of the body. Its end comes with the last bytes where it is known.
func (r *Reply) take(p []byte) (int, error) {
	s := r.s
	c := s.c
	c.mu.Lock()
	defer c.mu.Unlock()
	defer s.limitLocked(0, "")
	for {
		if s.given {
			return 0, s.end
		}
		room := p
		if r.want >= 0 {
			room = p[:min(int64(len(p)), r.want-r.read)]
		}
		n := s.pieces.Take(room)
		r.read += int64(n)
		c.tellLocked(s, n)
		left := s.pieces.Len()
		switch {
		case n > 0 && (left > 0 || s.end != io.EOF), len(p) == 0:
			return n, nil
		case left > 0:
			return 0, errors.New("the response is longer than it says")
		case s.end == io.EOF && r.want >= 0 && r.read < r.want:
			return n, errShort
		case s.end != nil:
			return n, s.end
		}
		s.limitLocked(s.call.Idle, "nothing inside the response")
		s.cond.Wait()
	}
}

// Close gives up what was not read.
func (r *Reply) Close() error {
	r.once.Do(func() {
		r.wait.End()
		r.s.giveUp(errShut)
		r.upload.abandon()
	})
	return nil
}

// part leaves the stream to itself, of which all that anybody wants to read has come. Its
// end need not be there yet, but it would be no use to give it up for that.
func (r *Reply) part() {
	r.wait.End()
	s := r.s
	s.c.mu.Lock()
	whole := s.sent && s.pieces.Len() == 0
	if whole && s.end == nil {
		s.orphaned = time.Now()
		s.c.wakeLocked(s.orphaned, orphanWait)
	}
	s.c.mu.Unlock()
	if !whole {
		s.giveUp(errShut)
		r.upload.abandon()
	}
}
