package h3

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/foretier/foretier/internal/fields"
)

// ServeHTTP implements [http.Handler]: a request as quic-go has read it becomes one as
// net/http's own servers make them. It serves none but those.
func (s *Server) ServeHTTP(to http.ResponseWriter, r *http.Request) {
	c := connOf(r.Context())
	c.begin()
	defer c.end()
	w := newWriter(to.(stream), r.Method == http.MethodHead, s.lent.Limits.WriteStall)
	if r.Method == http.MethodConnect && !strings.HasPrefix(r.Proto, "HTTP/") {
		r.Header[":protocol"] = []string{r.Proto} // as net/http has it of HTTP/2
	}
	r.Proto = "HTTP/3.0"
	delete(r.Header, "Host") // it is :authority, or is in its place (RFC 9114, section 4.3.1)
	r.Trailer = nil
	if expects(r.Header["Expect"]) {
		w.WriteHeader(http.StatusContinue)
	}
	s.begin(r, w)
	s.lent.Handler.ServeHTTP(w, r)
	w.finish()
}

// expects reports whether a client waits for 100 before it sends a body (RFC 9110,
// section 10.1.1).
func expects(lines []string) bool {
	for _, one := range fields.List(lines) {
		if fields.EqualFold(one, "100-continue") {
			return true
		}
	}
	return false
}

// begin finds out whether a request without a length has a body, which the end of its
// stream tells: a cache, a retry and a backend treat it as another if it may have one.
func (s *Server) begin(r *http.Request, w *writer) {
	switch {
	case r.Method == http.MethodConnect: // which has none, and does not end
		return
	case r.ContentLength > 0:
		r.Body = &body{ReadCloser: r.Body}
		return
	case r.ContentLength == 0:
		r.Body = http.NoBody
		return
	}
	if limit := s.lent.Limits.BodyStall; limit > 0 {
		_ = w.to.SetReadDeadline(time.Now().Add(limit)) // it cannot fail
	}
	head := make([]byte, 512)
	n, err := 0, error(nil)
	for n == 0 && err == nil {
		n, err = r.Body.Read(head)
	}
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		_ = w.to.SetReadDeadline(time.Time{}) // likewise
	}
	switch {
	case err != io.EOF:
		r.Body = &body{r.Body, head[:n], err} // which has no length that could be too much
	case n == 0:
		r.Body, r.ContentLength = http.NoBody, 0
	default:
		r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(head[:n])), int64(n)
	}
}

// A body is one of which the beginning may have been read.
type body struct {
	io.ReadCloser
	head []byte
	err  error // why there is no more than head; nil: there may be
}

func (b *body) Read(p []byte) (int, error) {
	if len(b.head) > 0 {
		n := copy(p, b.head)
		b.head = b.head[n:]
		return n, nil
	}
	if b.err != nil {
		return 0, b.err
	}
	n, err := b.ReadCloser.Read(p)
	if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
		return 0, err // the last that it announced, with more behind it, would be a whole one to a backend
	}
	return n, err
}
