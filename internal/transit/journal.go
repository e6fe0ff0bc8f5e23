package transit

import (
	"iter"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// A Journal is what is told of a request: by the stages below to those above,
// and to whoever logs it. Its zero value is empty.
type Journal struct {
	// Unproven says that the response's body ended by the backend closing an
	// HTTP/1 connection, with neither a length nor chunked framing, so that
	// nobody can tell a whole body from half of one. Set by the pool before
	// the response's header is handed up.
	Unproven bool
	// Sent is the header of the request as the pool made it for the backend,
	// not to be changed: what it has that the pool's caller did not give is the
	// tier's own, and an answer may vary on it. Set by the pool before the
	// response's header is handed up; nil if no pool was asked.
	Sent http.Header

	// Hit says that the answer is a fresh one that was stored, for which nobody below was
	// asked. Set by a cache before the response's header is handed up, and taken back by
	// whoever asks all the same, or makes something else of it.
	Hit bool

	awaits atomic.Int64 // see Await

	mu     sync.Mutex
	notes  []note     // guarded by mu
	few    [3]note    // guarded by mu: where the first notes are, as many as stages leave
	cause  error      // guarded by mu
	status int        // guarded by mu; see Answered
	bad    error      // guarded by mu; see Malformed
	gone   bool       // guarded by mu; see Gone
	links  []*Journal // guarded by mu; complete, of fetches that served this request
}

type note struct {
	part  string
	value slog.LogValuer
}

// Note leaves what part did with the request. It is rendered only if somebody
// reads it.
func (j *Journal) Note(part string, v slog.LogValuer) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.notes == nil {
		j.notes = j.few[:0]
	}
	j.notes = append(j.notes, note{part, v})
}

// An Outcomer is a note of a cache's: it says what was done with the request, as hit,
// stale, miss or pass.
type Outcomer interface{ Outcome() string }

// Outcome returns what the first cache has done with the request, or "".
func (j *Journal) Outcome() (what string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, n := range j.notes {
		if o, ok := n.value.(Outcomer); ok {
			return o.Outcome()
		}
	}
	return ""
}

// Fail keeps the cause of an error answer for the log line. The first cause
// stays: later ones are its consequences.
func (j *Journal) Fail(cause error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.cause == nil {
		j.cause = cause
	}
}

// Answered says with which status a request is answered that has a cause: an error
// of the tier's own, or what is served in place of one. Others are not told.
func (j *Journal) Answered(status int) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.status = status
}

// Link shows the notes, the cause and the status of an ended fetch in j too. The
// fetch's journal must not be written any more.
func (j *Journal) Link(fetch *Journal) {
	if j == fetch {
		return
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.links = append(j.links, fetch)
}

// Await says until when the client must have sent more of its body, the zero
// Time that nothing is awaited. The standard server cancels a request whose
// client missed that moment just as it does one whose client has gone; [Fail]
// tells them apart by it.
func (j *Journal) Await(until time.Time) {
	var n int64
	if !until.IsZero() {
		n = until.UnixNano()
	}
	j.awaits.Store(n)
}

// overdue reports whether the client let the moment of Await pass.
func (j *Journal) overdue(now time.Time) bool {
	n := j.awaits.Load()
	return n != 0 && now.UnixNano() >= n
}

// Malformed says that the client sent err in the place of a body, which [Fail]
// tells from a client that has gone: both fail whoever reads the body.
func (j *Journal) Malformed(err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.bad = err
}

// malformed returns what Malformed has said.
func (j *Journal) malformed() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.bad
}

// leave says that the client has gone.
func (j *Journal) leave() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.gone = true
}

// Gone reports whether [Fail] was told that the client has gone: a StatusGone
// that a backend sends is an answer like any other.
func (j *Journal) Gone() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.gone || slices.ContainsFunc(j.links, (*Journal).Gone)
}

// Cause returns why the request could not be served, or nil.
func (j *Journal) Cause() error {
	j.mu.Lock()
	cause, links := j.cause, j.links
	j.mu.Unlock()
	for _, l := range links {
		if cause != nil {
			break
		}
		cause = l.Cause()
	}
	return cause
}

// Status returns what Answered has said, or 0.
func (j *Journal) Status() int {
	j.mu.Lock()
	status, links := j.status, j.links
	j.mu.Unlock()
	for _, l := range links {
		if status != 0 {
			break
		}
		status = l.Status()
	}
	return status
}

// Notes yields what the parts noted, in order, those of linked fetches last.
func (j *Journal) Notes() iter.Seq2[string, slog.LogValuer] {
	return func(yield func(string, slog.LogValuer) bool) { j.EachNote(yield) }
}

// EachNote calls yield with what Notes yields, until that reports false. It takes no
// memory, and reports whether all were wanted.
func (j *Journal) EachNote(yield func(string, slog.LogValuer) bool) bool {
	j.mu.Lock()
	notes, links := j.notes, j.links
	j.mu.Unlock()
	for _, n := range notes {
		if !yield(n.part, n.value) {
			return false
		}
	}
	for _, l := range links {
		if !l.EachNote(yield) {
			return false
		}
	}
	return true
}
