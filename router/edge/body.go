package edge

import (
	"errors"
	"io"
	"os"
	"sync"
	"time"

	"github.com/foretier/foretier/internal/http1"
	"github.com/foretier/foretier/internal/transit"
)

// A stallReader gives up on a request body of which no byte has come for a
// while. The error is os.ErrDeadlineExceeded.
type stallReader struct {
	io.ReadCloser
	rc  controller // of the standard server's own writer
	rec *transit.Record
	h2  bool

	mu    sync.Mutex
	limit time.Duration // guarded by mu
	set   time.Time     // guarded by mu: when the deadline was last moved
	asked time.Time     // guarded by mu: the handler's own deadline, which holds if it is earlier
}

func (b *stallReader) Read(p []byte) (int, error) {
	b.rec.Await(b.move(time.Now()))
	n, err := b.ReadCloser.Read(p)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return n, err
	}
	b.rec.Await(time.Time{})
	if b.h2 || err != nil {
		// After the body the standard server reads in the background, to notice
		// that the client is gone, for as long as the handler takes. And an
		// HTTP/2 stream breaks when its deadline passes, read or not.
		b.mu.Lock()
		defer b.mu.Unlock()
		_ = b.rc.SetReadDeadline(b.asked) // a connection without deadlines has none to lift
		b.set = time.Time{}
	}
	return n, err
}

// move moves the rolling deadline, not with every read, and returns it.
func (b *stallReader) move(now time.Time) time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	if now.Sub(b.set) > b.limit/30 {
		b.set = now
		until := now.Add(b.limit)
		if !b.asked.IsZero() && b.asked.Before(until) {
			until = b.asked
		}
		if b.rc.SetReadDeadline(until) != nil {
			b.limit = 1 << 62 // a connection that has no deadlines, as in tests
		}
	}
	return b.set.Add(b.limit)
}

// deadline sets the handler's own.
func (b *stallReader) deadline(t time.Time) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.asked, b.set = t, time.Time{}
	return b.rc.SetReadDeadline(t)
}

// A bodyReader tells a body that is none from one whose client has gone.
type bodyReader struct {
	io.ReadCloser
	rec *transit.Record
}

func (b *bodyReader) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil && err != io.EOF {
		if _, malformed := errors.AsType[*http1.Refusal](err); malformed {
			b.rec.Malformed(err)
		}
	}
	return n, err
}
