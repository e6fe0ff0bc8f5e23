package cache

import (
	"net/http"
	"strconv"
	"strings"

	"github.com/foretier/foretier/cache/internal/law"
	"github.com/foretier/foretier/cache/internal/memory"
	"github.com/foretier/foretier/internal/fields"
)

// A stored part that is the beginning of a response is completed when somebody
// asks for the whole: the backend is asked for the rest (RFC 9111, section
// 3.4). Only a strong validator says that the two belong together (RFC 9110,
// section 15.3.7.3), so without one the whole is asked for.

// beginning returns the stored beginning that a fetch for a may complete, which
// must be released, or nil.
func (a *ask) beginning() *memory.Entry {
	if a.r.Method != http.MethodGet || a.r.Header["Range"] != nil || a.cookie || a.auth {
		return nil
	}
	return a.site.cache.store.Get([]byte(a.url), a.continues)
}

// continues reports whether e is a beginning of what a asks for.
func (a *ask) continues(e *memory.Entry) bool {
	if e.Flags&memory.Part == 0 || e.More.First != 0 || e.HTTPS != a.https || e.More.Parts != a.parts {
		return false
	}
	etag := e.Field("Etag")
	return etag != "" && !strings.HasPrefix(etag, "W/") && a.sameVariant(e) && a.covers(e) && a.use(e) == law.Fresh
}

// askRest makes r a request for what follows e.
func askRest(r *http.Request, e *memory.Entry) {
	r.Header["Range"] = []string{"bytes=" + strconv.FormatInt(e.Len(), 10) + "-"}
	r.Header["If-Range"] = []string{e.Field("Etag")}
}

// combined returns the header of the whole that a 206 completes, and its
// length. ok is false if it is not the rest of what is stored: what compresses
// answers on the way may leave the validator as it is.
func combined(begun *memory.Entry, answer http.Header) (header http.Header, length int64, ok bool) {
	rest, ok := law.ParseContentRange(answer["Content-Range"])
	first := partOf(begun)
	if !ok || rest.First != first.Length || rest.First+rest.Length != rest.Total || rest.Total != first.Total ||
		answer.Get("Etag") != begun.Field("Etag") || answer.Get("Content-Encoding") != begun.Field("Content-Encoding") {
		return nil, 0, false
	}
	if n := fields.Length(answer); n >= 0 && n != rest.Length {
		return nil, 0, false
	}
	header = law.Update(begun.Header(), answer)
	delete(header, "Content-Range")
	header["Content-Length"] = []string{strconv.FormatInt(rest.Total, 10)}
	return header, rest.Total, true
}
