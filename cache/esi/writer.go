package esi

import (
	"errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/foretier/foretier/internal/fields"
	"github.com/foretier/foretier/internal/transit"
)

// A writer passes an answer on, or has the page composed of which it is the template.
type writer struct {
	http.ResponseWriter
	handler *handler
	asked   *http.Request // the visitor's
	down    *http.Request // as it went down
	how     way
	front   http.Handler // whom fragments are asked of; nil: the one that is wrapped
	mark    uint64
	above   []string // the coding that a compressor above has announced already

	status  int // of the final header; 0 before
	act     act
	header  http.Header // once it is no longer the client's: of what is dropped, or of what has gone out
	parser  parser
	page    *page // once there is a fragment
	length  int64 // of the template as announced; -1: not
	written int64
	gone    bool // the client takes no more
}

var errTemplate = errors.New("esi: the template has broken off")

// Unwrap serves [http.ResponseController].
func (w *writer) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// Header implements [http.ResponseWriter].
func (w *writer) Header() http.Header {
	if w.header != nil {
		return w.header
	}
	return w.ResponseWriter.Header()
}

// WriteHeader implements [http.ResponseWriter].
func (w *writer) WriteHeader(status int) {
	if w.status != 0 {
		return
	}
	if status < 200 && status != http.StatusSwitchingProtocols {
		w.ResponseWriter.WriteHeader(status)
		return
	}
	w.status = status
	h := w.ResponseWriter.Header()
	isCoded := coded(h) && !slices.Equal(h["Content-Encoding"], w.above)
	w.act = judge(w.asked.Method, w.how, status, isCoded, w.handler.processor.asks(w.down, status, h))
	if w.act != pass {
		w.handler.marks.set(w.mark)
	}
	switch w.act {
	case again:
		w.header = make(http.Header)
		return
	case raw:
		closeToOne(h)
		rec := transit.From(w.asked.Context())
		rec.Fail(fmt.Errorf("esi: the page cannot be composed: status %d, coding %q", status, h.Get("Content-Encoding")))
		rec.Answered(status)
	case compose:
		w.handler.processor.figures.composed.Add(1)
		w.length = fields.Length(h)
		settle(h)
		if isCoded { // of HEAD, for what comes with a GET has none
			delete(h, "Content-Encoding")
		}
	}
	w.ResponseWriter.WriteHeader(status)
	if w.act == compose {
		w.header = h.Clone() // the client's is for whoever sends
		w.parser.to = w
	}
}

// Write implements [http.ResponseWriter].
func (w *writer) Write(b []byte) (int, error) {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	switch w.act {
	case again:
		return len(b), nil
	case compose:
		if w.asked.Method == http.MethodHead {
			return len(b), nil
		}
		w.written += int64(len(b))
		if err := w.parser.feed(b); err != nil {
			w.gone = true
			return 0, err
		}
		return len(b), nil
	}
	return w.ResponseWriter.Write(b)
}

// Flush implements [http.Flusher].
func (w *writer) Flush() { _ = w.FlushError() } // a Flusher cannot report

// FlushError serves [http.ResponseController]. Once there is a fragment, what there is
// goes out by itself.
func (w *writer) FlushError() error {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	if w.act == again || w.page != nil {
		return nil
	}
	return http.NewResponseController(w.ResponseWriter).Flush()
}

// text implements [sink].
func (w *writer) text(b []byte) error {
	if w.page != nil {
		return w.page.root.text(b)
	}
	_, err := w.ResponseWriter.Write(b)
	return err
}

// include implements [sink].
func (w *writer) include(in include) error {
	if w.page == nil {
		w.page = w.handler.start(w)
	}
	return w.page.root.include(in)
}

// malformed implements [sink].
func (w *writer) malformed(what string) {
	rec := transit.From(w.asked.Context())
	rec.Fail(errors.New("esi: the page has " + what))
	rec.Answered(w.status)
}

// end says that the handler below has returned. It returns once the page is sent.
func (w *writer) end() {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	if w.act != compose || w.asked.Method == http.MethodHead {
		return
	}
	if !w.gone {
		_ = w.parser.end() // that the client takes no more is no matter now
		if w.length >= 0 && w.written != w.length {
			w.cut(errTemplate)
		}
	}
	if w.page != nil {
		if why := w.page.finish(); why != nil {
			w.cut(why)
		}
	}
}

// cut cuts the page off.
func (w *writer) cut(why error) {
	rec := transit.From(w.asked.Context())
	rec.Fail(why)
	if w.page != nil {
		w.page.abort()
	}
	panic(http.ErrAbortHandler)
}
