package balancer

import (
	"io"
	"net/http"

	"github.com/foretier/foretier/internal/fields"
	"github.com/foretier/foretier/internal/http1"
)

// announcedTrailers returns the trailers of r that go on. What the server reads
// at the body's end may have others, which nobody has looked at; and some
// backends take trailers for fields of the header, so that what a client may
// not say there it may not say at the end either.
//
// It is called before anybody reads the body, whose reader writes to r.Trailer.
func announcedTrailers(r *http.Request) []string {
	var names []string
	for name := range r.Trailer {
		one := http.Header{http.CanonicalHeaderKey(name): nil}
		if fields.Clean(one, false); len(one) > 0 && http1.MayTrail(name) {
			names = append(names, name)
		}
	}
	return names
}

// trailing is the body of an attempt that fills the attempt's own trailers in
// at its end: the request's belong to whoever reads its body, which may be an
// attempt that was given up.
type trailing struct {
	io.ReadCloser
	exchange *exchange
	trailer  http.Header
}

func (b *trailing) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err == io.EOF {
		for name := range b.trailer {
			b.trailer[name] = b.exchange.req.Trailer[name]
		}
	}
	return n, err
}
