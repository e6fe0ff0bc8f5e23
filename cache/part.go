package cache

import (
	"io"
	"net/http"
	"strconv"

	"github.com/foretier/foretier/cache/internal/law"
	"github.com/foretier/foretier/cache/internal/memory"
)

// maxPart is the largest part that is stored, and the largest whole of which a
// request for a part fetches all.
const maxPart = 1 << 20

// cut turns e, made of a 206, into what is stored of it (RFC 9111, section
// 3.3): the whole, if that is what it holds, else a part. asked is the
// Range that brought it, length that of the body, which may be less than
// Content-Range says, not more.
func cut(e *memory.Entry, asked string, answer http.Header, length int64) bool {
	span, ok := law.ParseContentRange(answer["Content-Range"])
	if !ok || length <= 0 || length > maxPart || length > span.Length {
		return false
	}
	if length == span.Total {
		whole := answer.Clone()
		delete(whole, "Content-Range")
		e.Status, e.Head = http.StatusOK, memory.FormatHead(whole)
		return true
	}
	if e.More == nil {
		e.More = new(memory.More)
	}
	e.Flags |= memory.Part
	e.More.Range = asked
	e.More.First, e.More.Total = span.First, span.Total
	return true
}

// partOf returns which part e holds.
func partOf(e *memory.Entry) law.Span {
	return law.Span{First: e.More.First, Length: e.Len(), Total: e.More.Total}
}

// fitsPart reports whether the part e answers a request: it asks for the
// same in the same words, or for less.
func fitsPart(r *http.Request, e *memory.Entry) bool {
	if r.Method != http.MethodGet || r.Header["If-Range"] != nil {
		return false
	}
	lines := r.Header["Range"]
	if len(lines) == 1 && lines[0] == e.More.Range {
		return true
	}
	_, ok := partOf(e).Within(lines)
	return ok
}

// servePart answers from a stored part; the header is already set.
func servePart(w http.ResponseWriter, r *http.Request, e *memory.Entry) {
	stored := partOf(e)
	from := &body{chunks: e.Chunks(), size: e.Len()}
	n := e.Len()
	if part, ok := stored.Within(r.Header["Range"]); ok && r.Header.Get("Range") != e.More.Range {
		h := w.Header()
		h["Content-Range"] = []string{"bytes " + strconv.FormatInt(part.First, 10) + "-" +
			strconv.FormatInt(part.First+part.Length-1, 10) + "/" + strconv.FormatInt(part.Total, 10)}
		h["Content-Length"] = []string{strconv.FormatInt(part.Length, 10)}
		from.pos, n = part.First-stored.First, part.Length
	}
	w.WriteHeader(http.StatusPartialContent)
	_, _ = io.CopyN(w, from, n) // an error means that the client is gone
}
