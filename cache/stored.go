package cache

import (
	"net/http"
	"strconv"
	"time"

	"github.com/foretier/foretier/cache/internal/law"
	"github.com/foretier/foretier/cache/internal/memory"
	"github.com/foretier/foretier/internal/transit"
)

// serve answers from what is stored, as a hit.
func (h *handler) serve(w http.ResponseWriter, a *ask, e *memory.Entry, why string) {
	var buf [96]byte
	params := strconv.AppendInt(append(buf[:0], "; hit; ttl="...), e.TTL(a.now), 10)
	h.serveEntry(w, a, e, e, append(params, detail(why)...))
}

// serveEntry answers from what is stored, in the form that the request wants most; params
// go into Cache-Status. held is what the caller holds of it: e, or another with the
// same body, whose forms may be others.
func (h *handler) serveEntry(w http.ResponseWriter, a *ask, e, held *memory.Entry, params []byte) {
	whole := e
	a.as = choice{e, -1}
	if e.Flags&memory.Codable != 0 && e == held {
		a.as = h.cache.choose(e, a.r.Header)
		e = a.as.form
	}
	if h.serveNotModified(w, a, e, params) {
		return
	}
	h.setHeader(w.Header(), a, e, params)
	if e != whole && a.r.Method != http.MethodHead {
		h.cache.saved(whole, e)
	}
	if a.r.Method != http.MethodHead && e.Len() > unleased {
		l := lend(w, a.r)
		defer l.end()
		h.cache.store.Pin(&l.Pin, held, time.Now().UnixNano())
		defer h.cache.store.Unpin(&l.Pin)
		w = l
	}
	if e.Flags&memory.Part != 0 {
		servePart(w, a.r, e)
		return
	}
	if fewRanges(a.r) && e.Status == http.StatusOK && a.r.Method == http.MethodGet {
		serveRange(w, a.r, e)
		return
	}
	w.WriteHeader(int(e.Status))
	if a.r.Method == http.MethodHead || len(e.Body) == 0 {
		return
	}
	if _, err := w.Write(e.Body); err != nil {
		return // the client is gone
	}
	if e.More != nil {
		for _, chunk := range e.More.Chunks {
			if _, err := w.Write(chunk); err != nil {
				return
			}
		}
	}
}

// serveNotModified answers a conditional request 304 if its condition says so
// (RFC 9111, section 4.3.2).
func (h *handler) serveNotModified(w http.ResponseWriter, a *ask, e *memory.Entry, params []byte) bool {
	if !notModified(e, transit.ConditionsOf(a.r.Header), a.now) {
		return false
	}
	header := w.Header()
	h.setHeader(header, a, e, params)
	for _, name := range [...]string{"Content-Length", "Content-Type", "Content-Encoding", "Content-Range", "Trailer"} {
		delete(header, name)
	}
	w.WriteHeader(http.StatusNotModified)
	return true
}

// notModified reports whether e answers a GET with conditions 304.
func notModified(e *memory.Entry, c transit.Conditions, now time.Time) bool {
	return c.Any() && e.Status == http.StatusOK && law.NotModified(c, e.Field("Etag"), e.Field("Last-Modified"), time.Unix(0, e.Born), now)
}

// setHeader sets the header of a stored response, Age and Cache-Status. It
// makes one array of values and one text for the two.
func (h *handler) setHeader(header http.Header, a *ask, e *memory.Entry, params []byte) {
	var buf [160]byte
	text := strconv.AppendInt(buf[:0], e.Age(a.now), 10)
	age := len(text)
	text = append(append(text, h.cache.opts.Name...), params...)
	both := string(text)
	if e.Flags&memory.Codable != 0 && h.cache.coders.varies(e) {
		e.CopyHeader(header, "Age", both[:age], "Cache-Status", both[age:], "Vary", acceptEncoding)
		return
	}
	e.CopyHeader(header, "Age", both[:age], "Cache-Status", both[age:])
}

// saved counts what it saves to send a form of e.
func (c *Cache) saved(e, form *memory.Entry) { c.figures.saved.Add(uint64(e.Len() - form.Len())) }
