package compress

import (
	"net/http"

	"github.com/klauspost/compress/gzhttp"

	"github.com/foretier/foretier/internal/fields"
)

// A gate is what an encoder writes to. It makes the header that of a coded answer as
// soon as the encoder has said that it is one, which is so late because small answers
// stay as they are.
type gate struct {
	http.ResponseWriter
	head   bool // only the header is sent
	shut   bool // nothing goes through
	status int
	coded  bool
	sent   int64 // of the coded body
}

// Unwrap is for [http.ResponseController], by which the encoder flushes.
func (g *gate) Unwrap() http.ResponseWriter { return g.ResponseWriter }

// WriteHeader implements [http.ResponseWriter].
func (g *gate) WriteHeader(status int) {
	if g.shut {
		return
	}
	if coding := g.Header().Get("Content-Encoding"); coding != "" { // there was none before
		g.coded = true
		fields.Code(g.Header(), coding)
	}
	g.ResponseWriter.WriteHeader(status)
}

// Write implements [http.ResponseWriter].
func (g *gate) Write(p []byte) (int, error) {
	if g.shut {
		return 0, http.ErrAbortHandler
	}
	if g.head {
		return len(p), nil
	}
	n, err := g.ResponseWriter.Write(p)
	g.sent += int64(n)
	return n, err
}

// showHead has the header of an answer to HEAD be what it would be to GET, as far as
// that is known: it takes a byte to have the encoder say in which coding, and that
// goes nowhere. That the body may be too small to be coded is known by its length only.
func (g *gate) showHead(z *gzhttp.GzipResponseWriter) {
	_, _ = z.Write([]byte{0})
	z.Flush()
	g.shut = true
}
