package cache

import (
	"errors"
	"hash/maphash"
	"net/http"

	"github.com/foretier/foretier/internal/fields"
	"github.com/foretier/foretier/internal/transit"
)

// errChanged is why a response that was begun is not gone on with.
var errChanged = errors.New("cache: what comes is not the rest of what was begun")

// rest sends a, whose reader was left behind, what follows after what it was
// left with. The backend is asked anew, and what it sends has to begin with what
// the client has, to the byte: else the response is cut off.
func (h *handler) rest(w http.ResponseWriter, a *ask, f *flight, have *remainder) {
	ctx := a.r.Context()
	out := &restWriter{ResponseWriter: w, header: make(http.Header), status: f.answer.status, ahead: have.end, length: -1}
	out.sum.SetSeed(have.sum.Seed())
	out.want = have.sum.Sum64()
	h.note(a.r, note("miss: left behind, asked anew"))
	q := question{ask: a, plain: true}
	h.next.ServeHTTP(out, q.request(ctx))
	if out.err != nil || out.ahead > 0 || transit.From(ctx).Unproven || out.length >= 0 && out.written != out.length {
		panic(http.ErrAbortHandler) // the client must not take it for whole
	}
}

// A restWriter passes on what follows after what the client has.
type restWriter struct {
	http.ResponseWriter
	header http.Header // of no use: the client has its header
	status int         // that the client was told
	wrote  bool

	ahead   int64 // how much is still to come that the client has
	sum     maphash.Hash
	want    uint64
	length  int64 // that the response states; -1: none
	written int64
	err     error
}

// Header implements [http.ResponseWriter].
func (w *restWriter) Header() http.Header { return w.header }

// WriteHeader implements [http.ResponseWriter].
func (w *restWriter) WriteHeader(status int) {
	if w.wrote || status < 200 && status != http.StatusSwitchingProtocols {
		return
	}
	w.wrote = true
	w.length = fields.Length(w.header)
	if status != w.status {
		w.err = errChanged
	}
}

// Write implements [http.ResponseWriter].
func (w *restWriter) Write(p []byte) (int, error) {
	if !w.wrote {
		w.WriteHeader(http.StatusOK)
	}
	if w.err != nil {
		return 0, w.err
	}
	n := int(min(int64(len(p)), w.ahead))
	w.written += int64(n)
	if n > 0 {
		w.sum.Write(p[:n])
		if w.ahead -= int64(n); w.ahead == 0 && w.sum.Sum64() != w.want {
			w.err = errChanged
			return 0, w.err
		}
	}
	if n == len(p) {
		return n, nil
	}
	m, err := w.ResponseWriter.Write(p[n:])
	w.written += int64(m)
	return n + m, err
}

// Flush implements [http.Flusher].
func (w *restWriter) Flush() { _ = w.FlushError() }

// FlushError is for [http.ResponseController].
func (w *restWriter) FlushError() error {
	if w.ahead > 0 || w.err != nil {
		return nil
	}
	return http.NewResponseController(w.ResponseWriter).Flush()
}
