package edge

import (
	"errors"
	"io"

	"github.com/foretier/foretier/internal/http1"
	"github.com/foretier/foretier/internal/transit"
)

// A bodyReader tells a body that is none from one whose client has gone.
type bodyReader struct {
	io.ReadCloser
	rec *transit.Record
}

func (b *bodyReader) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	var malformed *http1.Refusal
	if err != nil && err != io.EOF && errors.As(err, &malformed) {
		b.rec.Malformed(err)
	}
	return n, err
}
