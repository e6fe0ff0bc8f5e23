package edge

import (
	"errors"
	"io"
	"net/http"
	"os"
	"time"
)

// A stallReader gives up on a request body of which no byte has come for a
// while. The error is os.ErrDeadlineExceeded.
type stallReader struct {
	io.ReadCloser
	rc    *http.ResponseController
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
	n, err := b.ReadCloser.Read(p)
	if b.h2 || err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		// After the body the standard server reads in the background, to notice
		// that the client is gone, for as long as the handler takes. And an
		// HTTP/2 stream breaks when its deadline passes, read or not.
		_ = b.rc.SetReadDeadline(time.Time{}) // a connection without deadlines has none to lift
		b.set = time.Time{}
	}
	return n, err
}
