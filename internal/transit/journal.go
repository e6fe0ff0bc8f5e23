package transit

import (
	"iter"
	"log/slog"
	"slices"
	"time"
)

type note struct {
	part  string
	value slog.LogValuer
}

// Link shows the notes and the cause of an ended fetch in r too. The fetch's
// record must not be written any more.
func (r *Record) Link(fetch *Record) {
	if r == nil || fetch == nil || r == fetch {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.fetch = append(r.fetch, fetch)
}

// Await says until when the client must have sent more of its body, the zero
// Time that nothing is awaited. The standard server cancels a request whose
// client missed that moment just as it does one whose client has gone; [Fail]
// tells them apart by it.
func (r *Record) Await(until time.Time) {
	if r == nil {
		return
	}
	var n int64
	if !until.IsZero() {
		n = until.UnixNano()
	}
	r.awaits.Store(n)
}

// overdue reports whether the client let the moment of Await pass.
func (r *Record) overdue(now time.Time) bool {
	n := r.awaits.Load()
	return n != 0 && now.UnixNano() >= n
}

// Malformed says that the client sent err in the place of a body, which [Fail]
// tells from a client that has gone: both fail whoever reads the body.
func (r *Record) Malformed(err error) {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.bad = err
}

// malformed returns what Malformed has said.
func (r *Record) malformed() error {
	if r == nil {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.bad
}

// Gone reports whether [Fail] was told that the client has gone: a StatusGone
// that a backend sends is an answer like any other.
func (r *Record) Gone() bool {
	if r == nil {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.gone || slices.ContainsFunc(r.fetch, (*Record).Gone)
}

func (r *Record) leave() {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.gone = true
}

// Note leaves what part did with the request. It is rendered only if somebody
// reads it.
func (r *Record) Note(part string, v slog.LogValuer) {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.notes = append(r.notes, note{part, v})
}

// Fail keeps the cause of an error answer for the log line. The first cause
// stays: later ones are its consequences.
func (r *Record) Fail(cause error) {
	if r == nil || cause == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.cause == nil {
		r.cause = cause
	}
}

// Cause returns why the request could not be served, or nil.
func (r *Record) Cause() error {
	if r == nil {
		return nil
	}
	r.mu.Lock()
	cause, fetches := r.cause, r.fetch
	r.mu.Unlock()
	for _, f := range fetches {
		if cause != nil {
			break
		}
		cause = f.Cause()
	}
	return cause
}

// Notes yields what the parts noted, in order, those of linked fetches last.
func (r *Record) Notes() iter.Seq2[string, slog.LogValuer] {
	return func(yield func(string, slog.LogValuer) bool) {
		if r == nil {
			return
		}
		r.mu.Lock()
		notes, fetches := r.notes, r.fetch
		r.mu.Unlock()
		for _, n := range notes {
			if !yield(n.part, n.value) {
				return
			}
		}
		for _, f := range fetches {
			for part, value := range f.Notes() {
				if !yield(part, value) {
					return
				}
			}
		}
	}
}
