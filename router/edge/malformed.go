package edge

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"

	"github.com/foretier/foretier/internal/transit"
)

// A chunkReader tells a body whose chunks cannot be read from one whose client
// has gone: whoever reads it gets an error of the standard server's either way,
// and the first deserves a 400.
type chunkReader struct {
	io.ReadCloser
	rec *transit.Record
}

func (b *chunkReader) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil && malformed(err) {
		b.rec.Malformed(err)
	}
	return n, err
}

// malformed reports whether err says that something came that is no body:
// nothing else that ends one is an error of its own.
func malformed(err error) bool {
	var broken net.Error // reset, closed, timed out
	return !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.ErrClosedPipe) &&
		!errors.As(err, &broken) && !errors.Is(err, net.ErrClosed) && !errors.Is(err, context.Canceled) &&
		!errors.Is(err, http.ErrBodyReadAfterClose)
}
