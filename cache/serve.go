package cache

import (
	"net/http"
	"strconv"
	"time"

	"github.com/foretier/foretier/cache/internal/law"
	"github.com/foretier/foretier/cache/internal/memory"
)

// serve answers from what is stored, as a hit.
func (h *handler) serve(w http.ResponseWriter, a *ask, e *memory.Entry, why string) {
	ttl := (e.FreshUntil - a.now.UnixNano()) / int64(time.Second)
	h.serveEntry(w, a, e, "; hit; ttl="+strconv.FormatInt(ttl, 10)+detail(why))
}

// serveEntry answers from what is stored; params goes into Cache-Status.
func (h *handler) serveEntry(w http.ResponseWriter, a *ask, e *memory.Entry, params string) {
	if h.serveNotModified(w, a, e, params) {
		return
	}
	header := w.Header()
	e.CopyHeader(header)
	setAge(header, e, a.now)
	h.cache.addStatus(header, params)
	if a.r.Header["Range"] != nil && e.Status == http.StatusOK && a.r.Method == http.MethodGet {
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
func (h *handler) serveNotModified(w http.ResponseWriter, a *ask, e *memory.Entry, params string) bool {
	if a.r.Header["If-None-Match"] == nil && a.r.Header["If-Modified-Since"] == nil || e.Status != http.StatusOK {
		return false
	}
	if !law.NotModified(a.r.Header, e.Field("Etag"), e.Field("Last-Modified"), time.Unix(0, e.Born), a.now) {
		return false
	}
	header := w.Header()
	e.CopyHeader(header)
	setAge(header, e, a.now)
	for _, name := range [...]string{"Content-Length", "Content-Type", "Content-Encoding", "Content-Range", "Trailer"} {
		delete(header, name)
	}
	h.cache.addStatus(header, params)
	w.WriteHeader(http.StatusNotModified)
	return true
}

// setAge sets the Age field (RFC 9111, section 5.1).
func setAge(header http.Header, e *memory.Entry, now time.Time) {
	age := max(0, now.UnixNano()-e.Born) / int64(time.Second)
	header["Age"] = []string{strconv.FormatInt(age, 10)}
}

// addStatus adds this cache's member to Cache-Status (RFC 9211). Those of
// caches nearer to the origin come first.
func (c *Cache) addStatus(header http.Header, params string) {
	lines := header["Cache-Status"]
	header["Cache-Status"] = append(lines[:len(lines):len(lines)], c.opts.Name+params)
}

// detail renders the detail parameter of Cache-Status.
func detail(why string) string {
	if why == "" {
		return ""
	}
	return "; detail=" + quote(why)
}

// quote makes a string of Structured Fields (RFC 9651, section 3.3.3).
func quote(s string) string {
	b := []byte{'"'}
	for i := range len(s) {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c < ' ' || c >= 0x7f:
			b = append(b, '?')
		default:
			b = append(b, c)
		}
	}
	return string(append(b, '"'))
}

func itoa(n int) string { return strconv.Itoa(n) }
