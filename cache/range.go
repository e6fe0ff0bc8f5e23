package cache

import (
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/foretier/foretier/cache/internal/law"
	"github.com/foretier/foretier/cache/internal/memory"
)

// serveRange answers a request for a part of a whole stored response (RFC
// 9110, section 14). The header is already set, the conditions are answered.
func serveRange(w http.ResponseWriter, r *http.Request, e *memory.Entry) {
	part := &http.Request{Method: r.Method, Header: http.Header{"Range": r.Header["Range"]}}
	if lines := r.Header["If-Range"]; len(lines) > 0 {
		if part.Header["If-Range"] = lines; !law.MayBeRange(lines[0]) {
			delete(part.Header, "Range") // nothing would match, after a long look
		}
	}
	header := w.Header()
	delete(header, "Content-Length")
	var modified time.Time
	if line := e.Field("Last-Modified"); line != "" {
		if t, err := http.ParseTime(line); err == nil {
			modified = t
		}
	}
	http.ServeContent(w, part, "", modified, &body{chunks: e.Chunks(), size: e.Len()})
}

// maxRanges is how many ranges of one request are answered. Whoever wants more
// gets the whole, as RFC 9110, section 14.2, allows: each costs a part of its
// own, however small.
const maxRanges = 16

// fewRanges reports whether a request asks for ranges, and not for too many.
func fewRanges(r *http.Request) bool {
	lines := r.Header["Range"]
	return len(lines) > 0 && strings.Count(lines[0], ",") < maxRanges
}

// body reads a stored body.
type body struct {
	chunks [][]byte
	size   int64
	pos    int64
}

// Seek implements [io.Seeker].
func (b *body) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += b.pos
	case io.SeekEnd:
		offset += b.size
	}
	b.pos = offset
	return offset, nil
}

// Read implements [io.Reader].
func (b *body) Read(p []byte) (int, error) {
	pos := b.pos
	for _, c := range b.chunks {
		if pos < int64(len(c)) {
			n := copy(p, c[pos:])
			b.pos += int64(n)
			return n, nil
		}
		pos -= int64(len(c))
	}
	return 0, io.EOF
}
