package h3

import (
	"errors"
	"maps"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

// A stream is quic-go's writer of an answer.
type stream interface {
	http.ResponseWriter
	FlushError() error
	SetReadDeadline(time.Time) error
	SetWriteDeadline(time.Time) error
}

// A writer writes an answer as net/http's own servers do: the header goes out as it was
// when it was written, without what is a connection's of HTTP/1.1, and a client who takes
// nothing of it for a while is given up.
type writer struct {
	to     stream
	header http.Header
	isHead bool
	limit  time.Duration // without a byte taken; 0 and less: none

	status  int   // final; 0 before
	length  int64 // that the header has announced; -1: none
	written int64 // of the body

	mu    sync.Mutex
	set   time.Time // guarded by mu: when the deadline was last moved
	asked time.Time // guarded by mu: the handler's own deadline, which holds if it is earlier
}

func newWriter(to stream, isHead bool, limit time.Duration) *writer {
	return &writer{to: to, header: make(http.Header), isHead: isHead, limit: limit, length: -1}
}

// Header implements [http.ResponseWriter].
func (w *writer) Header() http.Header { return w.header }

// ofConnection are the fields that HTTP/3 does not have (RFC 9114, section 4.2).
var ofConnection = [...]string{"Connection", "Keep-Alive", "Proxy-Connection", "Transfer-Encoding", "Upgrade"}

// WriteHeader implements [http.ResponseWriter].
func (w *writer) WriteHeader(status int) {
	if w.status != 0 {
		return
	}
	out := w.to.Header()
	maps.Copy(out, w.header)
	for _, name := range ofConnection {
		delete(out, name)
	}
	if status < 200 {
		w.move(false)
		w.to.WriteHeader(status)
		clear(out)
		return
	}
	w.status = status
	if lines := out["Content-Length"]; lines != nil {
		n, err := strconv.ParseInt(lines[0], 10, 64)
		if err == nil && n >= 0 {
			w.length = n
		} else {
			delete(out, "Content-Length")
		}
	}
	w.to.WriteHeader(status)
}

// Write implements [http.ResponseWriter].
func (w *writer) Write(p []byte) (n int, err error) {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	for {
		w.move(false)
		m, err := w.to.Write(p[n:])
		n += m
		w.written += int64(m)
		if err == nil || m == 0 || !errors.Is(err, os.ErrDeadlineExceeded) || w.overdue() {
			return n, err
		}
		w.move(true) // the client has taken some of it
	}
}

// FlushError serves [http.ResponseController].
func (w *writer) FlushError() error {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	w.move(false)
	return w.to.FlushError()
}

// Flush implements [http.Flusher].
func (w *writer) Flush() { _ = w.FlushError() } // a Flusher cannot report

// SetReadDeadline serves [http.ResponseController].
func (w *writer) SetReadDeadline(t time.Time) error { return w.to.SetReadDeadline(t) }

// SetWriteDeadline serves [http.ResponseController].
func (w *writer) SetWriteDeadline(t time.Time) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.asked, w.set = t, time.Time{}
	return w.to.SetWriteDeadline(t)
}

// move moves the deadline, not with every write unless it must.
func (w *writer) move(must bool) {
	if w.limit <= 0 {
		return
	}
	now := time.Now()
	w.mu.Lock()
	defer w.mu.Unlock()
	if !must && now.Sub(w.set) <= w.limit/30 {
		return
	}
	w.set = now
	until := now.Add(w.limit)
	if !w.asked.IsZero() && w.asked.Before(until) {
		until = w.asked
	}
	_ = w.to.SetWriteDeadline(until) // it cannot fail
}

// overdue reports whether the handler's own deadline has passed.
func (w *writer) overdue() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return !w.asked.IsZero() && !time.Now().Before(w.asked)
}

// finish leaves to quic-go what a handler that has returned leaves to its server. An
// answer that is shorter than it says is cut off, so that its client knows.
func (w *writer) finish() {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	if w.length > w.written && !w.isHead && w.status != http.StatusNoContent && w.status != http.StatusNotModified {
		panic(http.ErrAbortHandler)
	}
	w.trailers()
	w.move(true)
	if w.isHead && w.length < 0 {
		_ = w.to.FlushError() // else a length is made up, of the body that it has not
	}
}

// trailers hands on what has become of the header, as far as it is a trailer.
func (w *writer) trailers() {
	out := w.to.Header()
	for name, values := range w.header {
		if strings.HasPrefix(name, http.TrailerPrefix) {
			out[name] = values
		}
	}
	for _, line := range w.header["Trailer"] {
		for name := range strings.SplitSeq(line, ",") {
			name = http.CanonicalHeaderKey(strings.TrimSpace(name))
			if values, ok := w.header[name]; ok {
				out[name] = values
			}
		}
	}
}
