package h2

import (
	"errors"
	"io"
	"net/http"

	x "golang.org/x/net/http2"

	"github.com/foretier/foretier/internal/fields"
	"github.com/foretier/foretier/internal/http1"
	"github.com/foretier/foretier/internal/http2"
)

// mostWaiting is how much may wait to be written before bodies wait as well.
const mostWaiting = 64 << 10

// An upload sends a request's body. Its goroutine ends with the body, or with the stream
// once the body's source is closed.
type upload struct {
	s   *stream
	src io.ReadCloser
}

// send sends the body, or starts to: one that is not short is sent by a goroutine, because
// the backend may answer before it has read it all.
func (s *stream) send() (*upload, error) {
	call := s.call
	if call.Body == nil {
		s.written()
		return nil, nil
	}
	u := &upload{s, call.Body()}
	n := call.Request.ContentLength
	switch {
	case n >= 0 && n <= http1.InlineBody:
		defer u.src.Close()
		var source *sourceError
		if err := u.write(); errors.As(err, &source) {
			return nil, err
		} // else the backend may have said why it takes no more
		return nil, nil
	case call.Uploads != nil:
		call.Uploads.Go(u.run)
	default:
		go u.run()
	}
	return u, nil
}

func (u *upload) run() {
	defer u.src.Close()
	var source *sourceError
	if err := u.write(); errors.As(err, &source) {
		c := u.s.c
		c.mu.Lock()
		defer c.mu.Unlock()
		if u.s.end == nil { // the backend cannot know how it goes on
			u.s.failLocked(err)
		}
		u.s.sent = true
		u.s.resetLocked(x.ErrCodeCancel)
	}
}

// abandon cuts off what would be read of the body.
func (u *upload) abandon() {
	if u != nil {
		_ = u.src.Close()
	}
}

// A sourceError is a failure to read the request's body.
type sourceError struct{ err error }

func (e *sourceError) Error() string { return "reading the request's body: " + e.err.Error() }
func (e *sourceError) Unwrap() error { return e.err }

// write sends the body as it comes: it may be a stream.
func (u *upload) write() error {
	s, left := u.s, u.s.call.Request.ContentLength
	buf := http2.GetBlock()
	defer http2.PutBlock(buf)
	for left != 0 {
		p := buf[:]
		if left > 0 {
			p = p[:min(int64(len(p)), left)]
		}
		n, err := u.src.Read(p)
		if left > 0 {
			left -= int64(n)
		}
		if err == io.EOF && left > 0 {
			err = io.ErrUnexpectedEOF
		}
		if err != nil && err != io.EOF && left != 0 {
			return &sourceError{err}
		}
		last := left == 0 || err == io.EOF
		if n > 0 || last {
			if err := s.put(p[:n], last); err != nil {
				return err
			}
		}
		if last {
			return nil
		}
	}
	return s.put(nil, true)
}

// put sends p, as far and as soon as the windows let it through, and what follows the body
// if that ends with it.
func (s *stream) put(p []byte, last bool) error {
	c := s.c
	c.mu.Lock()
	defer c.mu.Unlock()
	trailer := s.trailerLocked(last)
	for {
		if s.sent { // nothing more is wanted
			return s.end
		}
		n := 0
		s.crowded = len(c.out) >= mostWaiting
		if !s.crowded {
			n = s.window.Take(min(len(p), c.frame, max(int(c.window), 0)))
			c.window.Take(n)
		}
		if n == 0 && (len(p) > 0 || s.crowded) {
			s.stallLocked()
			s.cond.Wait()
			continue
		}
		end := last && n == len(p)
		if n > 0 || trailer == nil {
			c.out = http2.AppendData(c.out, s.id, p[:n], end && trailer == nil)
			c.account.Earn(http2.EarnData)
		}
		if p = p[n:]; end && trailer != nil {
			c.out = http2.AppendHeaders(c.out, s.id, trailer, true, c.frame)
		}
		c.flushLocked()
		if !s.answered {
			s.limitLocked(0, "")
		}
		if end {
			s.sentLocked()
		}
		if len(p) == 0 {
			return nil
		}
	}
}

// stallLocked bounds the wait for the backend to take more, unless it answers already.
func (s *stream) stallLocked() {
	if !s.answered && s.by.IsZero() {
		s.limitLocked(s.call.Wait, "no response")
	}
}

// trailerLocked returns the block behind the body, nil if there is none.
func (s *stream) trailerLocked(last bool) []byte {
	if !last {
		return nil
	}
	var block []byte
	for _, name := range s.call.Trailer {
		for _, v := range s.call.Request.Trailer[name] {
			if fields.Value(v) {
				block = http2.AppendField(block, http.CanonicalHeaderKey(name), v)
			}
		}
	}
	return block
}

// written says that all of the request is on its way: the wait for the answer begins.
func (s *stream) written() {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	s.sentLocked()
}

func (s *stream) sentLocked() {
	if s.end == nil && !s.answered {
		s.limitLocked(s.call.Wait, "no response")
	}
	s.sent = true
	s.closeLocked()
}
