package compress

import (
	"fmt"
	"io"
	"net/http"

	"github.com/klauspost/compress/gzhttp"

	"github.com/foretier/foretier/internal/fields"
)

// An answer is what a handler writes. Its header decides whether it goes through an
// encoder, and so through its gate, or past both.
//
//	handler -> answer -> encoder -> gate -> below
//	                 \---------------------/
type answer struct {
	below   http.ResponseWriter
	h       *handler
	r       *http.Request
	gate    *gate
	encoder *gzhttp.GzipResponseWriter // nil: the client accepts no coding of its

	to      io.Writer // nil: nothing is decided yet
	coding  bool      // it goes through the encoder
	left    bool      // it does not, for reasons that another's may not have
	length  int64     // that the handler has announced; -1: none
	written int64     // by the handler
	place   func()    // gives the place back
}

// Unwrap is for [http.ResponseController].
func (a *answer) Unwrap() http.ResponseWriter { return a.below }

// Header implements [http.ResponseWriter].
func (a *answer) Header() http.Header { return a.below.Header() }

// WriteHeader implements [http.ResponseWriter].
func (a *answer) WriteHeader(status int) {
	if status >= 100 && status < 200 && status != http.StatusSwitchingProtocols {
		a.below.WriteHeader(status)
		return
	}
	if a.to != nil {
		return
	}
	if a.decide(status, a.below.Header()); a.coding {
		a.to = a.encoder
		a.encoder.WriteHeader(status)
		return
	}
	a.past(status)
}

// past has the answer go past the encoder.
func (a *answer) past(status int) {
	if a.coding = false; a.gate != nil {
		a.gate.shut = true // for whatever the encoder may say at its end
	}
	a.to = a.below
	a.below.WriteHeader(status)
}

// decide says whether an answer with this header is coded, and does to that what is so
// in either case.
func (a *answer) decide(status int, h http.Header) {
	a.length = fields.Length(h)
	if status == http.StatusNotModified {
		a.likeItsCondition(h)
		return
	}
	if status < 200 || status == http.StatusNoContent || status == http.StatusPartialContent || !fields.Codable(h) {
		return
	}
	fields.VaryByCoding(h)
	if a.encoder == nil {
		return
	}
	if !a.h.c.opts.Private && a.h.personal(a.r, h) {
		a.left = true
		a.h.c.private.Add(1)
		return
	}
	if a.place, a.coding = a.h.c.enter(a.r); !a.coding {
		a.left = true
		a.h.c.crowded.Add(1)
		return
	}
	a.gate.status = status
}

// likeItsCondition gives a 304 the ETag that its client has, if that is the one of
// the coded form: another would say nothing of that (RFC 9111, section 4.3.4).
func (a *answer) likeItsCondition(h http.Header) {
	tags := h["Etag"]
	if len(tags) != 1 {
		return
	}
	asked := a.r.Header["If-None-Match"]
	if weak := fields.WeakTag(tags[0]); fields.HasTag(asked, weak) && !fields.HasTag(asked, tags[0]) {
		h["Etag"] = []string{weak}
		fields.VaryByCoding(h)
	}
}

// Write implements [http.ResponseWriter].
func (a *answer) Write(p []byte) (int, error) {
	if a.to == nil {
		a.WriteHeader(http.StatusOK)
	}
	if !a.coding {
		return a.below.Write(p)
	}
	if a.gate.head {
		return len(p), nil
	}
	if a.length >= 0 && a.written+int64(len(p)) > a.length {
		return 0, http.ErrContentLength
	}
	n, err := a.encoder.Write(p)
	a.written += int64(n)
	return n, err
}

// ReadFrom implements [io.ReaderFrom]: what is not coded may go by the kernel's own way.
func (a *answer) ReadFrom(src io.Reader) (int64, error) {
	if a.to == nil {
		a.WriteHeader(http.StatusOK)
	}
	if !a.coding {
		return io.Copy(a.below, src)
	}
	return io.Copy(writerOnly{a}, src)
}

// writerOnly hides ReadFrom.
type writerOnly struct{ io.Writer }

// Flush implements [http.Flusher].
func (a *answer) Flush() { _ = a.FlushError() }

// FlushError is for [http.ResponseController]. A header that is to go out before there
// is anything to encode announces what may come as slowly as it likes: it is let past.
func (a *answer) FlushError() error {
	if a.to == nil {
		a.WriteHeader(http.StatusOK)
	}
	switch {
	case !a.coding:
		return http.NewResponseController(a.below).Flush()
	case a.gate.head:
		return nil // there is nothing to come
	case a.written == 0:
		a.past(a.gate.status)
		a.leave()
		return http.NewResponseController(a.below).Flush()
	}
	return a.encoder.FlushError()
}

// end says that the handler has returned, and returns why what it has written is not
// whole: coded it would look so.
func (a *answer) end() error {
	if a.to == nil && a.r.Method == http.MethodHead { // there is nothing to write
		a.WriteHeader(http.StatusOK)
	}
	switch {
	case !a.coding:
	case a.gate.head:
		a.gate.showHead(a.encoder)
	case a.written < a.length:
		return fmt.Errorf("compress: the handler wrote %d of the %d bytes that it announced", a.written, a.length)
	}
	return nil
}

// breakOff sees to it that nothing more is sent, which would look like the end.
func (a *answer) breakOff() {
	if a.gate != nil {
		a.gate.shut = true
	}
}

// leave gives back the place, once all has been sent, and counts what that was.
func (a *answer) leave() {
	if a.place == nil {
		return
	}
	a.place()
	a.place = nil
	if a.gate.coded && !a.gate.head {
		a.h.c.coded.Add(1)
		a.h.c.saved.Add(a.written - a.gate.sent)
	}
}
