package edge

import (
	"errors"
	"io"
	"net/http"
	"os"
	"time"

	"github.com/foretier/foretier/internal/transit"
)

// A stallReader gives up on a request body of which no byte has come for a
// while. The error is os.ErrDeadlineExceeded.
type stallReader struct {
	io.ReadCloser
	rc    *http.ResponseController
	rec   *transit.Record
	limit time.Duration
	h2    bool
	set   time.Time // when the deadline was last moved
}

func (b *stallReader) Read(p []byte) (int, error) {
	if now := time.Now(); now.Sub(b.set) > b.limit/30 {
		b.set = now
		if b.rc.SetReadDeadline(now.Add(b.limit)) != nil {
			b.limit = 1 << 62 // a connection that has no deadlines, as in tests
		}
	}
	b.rec.Await(b.set.Add(b.limit))
	n, err := b.ReadCloser.Read(p)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return n, err
	}
	b.rec.Await(time.Time{})
	if b.h2 || err != nil {
		// After the body the standard server reads in the background, to notice
		// that the client is gone, for as long as the handler takes. And an
		// HTTP/2 stream breaks when its deadline passes, read or not.
		_ = b.rc.SetReadDeadline(time.Time{}) // a connection without deadlines has none to lift
		b.set = time.Time{}
	}
	return n, err
}
