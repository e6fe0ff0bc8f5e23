package cache

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/foretier/foretier/internal/fields"
)

// readAlong serves a response while it comes in. It reports false if its
// beginning is gone.
func (h *handler) readAlong(w http.ResponseWriter, a *ask, f *flight, leads bool, params string) bool {
	reader := f.first
	if !leads {
		reader = f.body.read()
	}
	if reader == nil {
		return false
	}
	a.release() // a slow client need not keep what it is not sent
	l := lend(w, a.r)
	defer l.end()
	defer reader.close()
	reader.attach(l)
	if h.serveNotModified(w, a, f.answer.entry, []byte(params)) {
		h.note(a.r, note("miss: not modified"))
		return true
	}
	h.setShared(w.Header(), &f.answer, leads, params)
	w.WriteHeader(f.answer.status)
	err := sendAlong(a.r.Context(), l, reader, f.answer.length < 0)
	if err == errLeft {
		have := reader.rest
		reader.close()
		h.rest(w, a, f, have)
		return true
	}
	h.noteEnd(a, f, leads, err)
	if leads { // they came too late to be judged, as Set-Cookie is
		copyTrailers(w.Header(), f.trailer)
	}
	return true
}

// setShared sets the header of a response that comes in.
func (h *handler) setShared(header http.Header, an *answer, leads bool, params string) {
	from := an.header
	if leads && an.own != nil {
		from = an.own
	}
	for name, values := range from {
		header[name] = values[:len(values):len(values)]
	}
	if !leads || an.aged {
		// Age says that the origin was not asked for this request.
		header["Age"] = []string{strconv.FormatInt(an.entry.Age(time.Now()), 10)}
	}
	if h.cache.coders.varies(an.entry) {
		fields.VaryByCoding(header)
	}
	h.cache.addStatus(header, params)
}

// errClientLeft is why a client is sent no more.
var errClientLeft = errors.New("cache: the client left")

// sendAlong sends what the reader gets for as long as there is more, and says
// why there is not.
func sendAlong(ctx context.Context, l *lease, reader *reader, flush bool) error {
	flusher := http.NewResponseController(l.out)
	for {
		p, err := reader.next(ctx)
		if err != nil {
			return err
		}
		l.Moved(time.Now().UnixNano())
		if _, err := l.Write(p); err != nil {
			return errClientLeft
		}
		if flush {
			_ = flusher.Flush() // a writer that cannot is none the worse
		}
	}
}

// noteEnd notes how a response ended that came in, and cuts off one that is not
// whole: the client must not take it for that.
func (h *handler) noteEnd(a *ask, f *flight, leads bool, err error) {
	if err == errClientLeft {
		h.note(a.r, note("miss: the client left"))
		panic(http.ErrAbortHandler)
	}
	if a.r.Context().Err() == nil {
		<-f.done // at once; then its record may be linked
	}
	switch {
	case err != io.EOF:
		h.note(a.r, note("miss: cut off"))
		panic(http.ErrAbortHandler)
	case !leads:
		h.note(a.r, note("miss: another's fetch"))
	case f.stored:
		h.note(a.r, note("miss: stored"))
	default:
		h.note(a.r, note("miss: too large, or purged meanwhile"))
	}
}
