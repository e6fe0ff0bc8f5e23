package router

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/foretier/foretier/health"
	"github.com/foretier/foretier/internal/fields"
	"github.com/foretier/foretier/internal/transit"
)

// ErrorPages is middleware that shows pages of the operator's in place of what backends
// say with an error: the status stays, and so do fields that do not describe the body.
//
//	pages, err := router.NewErrorPages(map[int][]byte{404: notFound, 503: nil})
//
// Those who accept JSON and no page get JSON, as from errors of the tier's own. What a
// backend answers in another form than HTML or plain text stays as it is: a program
// reads it.
//
// It stands in [Rule.Use], above a cache: what is shown depends on Accept, and says so
// by Vary. Below a cache each kind of visitor would have an error fetched and stored.
type ErrorPages struct{ pages map[int][]byte }

// maxErrorPage is the largest page, in bytes.
const maxErrorPage = 64 << 10

// NewErrorPages returns ErrorPages with a page of HTML, of 64 KiB at most, for each
// status from 400 to 599. A status without a page, nil or empty, has the one that the tier
// shows for errors of its own (edge.Options.Pages), or a line of text.
func NewErrorPages(pages map[int][]byte) (*ErrorPages, error) {
	if len(pages) == 0 {
		return nil, errors.New("router: error pages: there are none: want a status at least, such as 503: nil for the tier's own page")
	}
	pages = maps.Clone(pages)
	for status, page := range pages {
		switch {
		case status < 400 || status > 599:
			return nil, fmt.Errorf("router: error pages: %d is no error status", status)
		case len(page) > maxErrorPage:
			return nil, fmt.Errorf("router: error pages: the page for %d has %d bytes: want %d at most", status, len(page), maxErrorPage)
		}
		pages[status] = slices.Clone(page)
	}
	return &ErrorPages{pages}, nil
}

// Handler returns next with its errors shown so. The returned handler also has the
// methods Explain, Healthy and Wraps, by which a layer above asks what lies below.
func (p *ErrorPages) Handler(next http.Handler) http.Handler { return &showing{p, next} }

type showing struct {
	*ErrorPages
	next http.Handler
}

// ServeHTTP implements [http.Handler].
func (h *showing) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	pw := &pageWriter{ResponseWriter: w, pages: h.pages, r: r}
	defer func() {
		// What the backend has not said to its end is not shown, and the page is whole.
		if v := recover(); v != nil && (!pw.shown || v != http.ErrAbortHandler) {
			panic(v)
		}
	}()
	h.next.ServeHTTP(pw, r)
}

// Wraps returns whose errors are shown.
func (h *showing) Wraps() []http.Handler { return []http.Handler{h.next} }

// Healthy reports whether that could serve r.
func (h *showing) Healthy(r *http.Request) bool { return health.Healthy(h.next, r) }

// Explain implements [health.Explainer].
func (h *showing) Explain(r *http.Request) health.Decision {
	statuses := slices.Sorted(maps.Keys(h.pages))
	return health.Decision{Part: "error pages", Verdict: strings.Trim(fmt.Sprint(statuses), "[]"), Next: []health.Decision{health.Explain(h.next, r)}}
}

// A pageWriter shows a page in place of an error.
type pageWriter struct {
	http.ResponseWriter
	pages map[int][]byte
	r     *http.Request
	wrote bool
	shown bool
}

// Unwrap serves [http.ResponseController], unless a page is shown.
func (w *pageWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// WriteHeader implements [http.ResponseWriter].
func (w *pageWriter) WriteHeader(status int) {
	if w.shown {
		return
	}
	if final := status >= 200 || status == http.StatusSwitchingProtocols; final && !w.wrote {
		w.wrote = true
		page, ok := w.pages[status]
		if ok && isPage(w.Header()) {
			w.show(status, page)
			return
		}
	}
	w.ResponseWriter.WriteHeader(status)
}

// show answers with a page.
func (w *pageWriter) show(status int, page []byte) {
	w.shown = true
	h := w.Header()
	for _, name := range ofTheBody {
		delete(h, name)
	}
	if lines := fields.List(h["Vary"]); !slices.ContainsFunc(lines, func(n string) bool { return n == "*" || fields.EqualFold(n, "Accept") }) {
		h.Add("Vary", "Accept")
	}
	transit.ShowError(w.ResponseWriter, w.r, status, page)
}

// isPage reports whether an answer is one that a person reads, or nothing.
func isPage(h http.Header) bool {
	kind, _, _ := strings.Cut(h.Get("Content-Type"), ";")
	switch strings.ToLower(strings.TrimSpace(kind)) {
	case "", "text/html", "application/xhtml+xml", "text/plain":
		return true
	}
	return false
}

// ofTheBody are the fields that describe a body, or how it may be asked for.
var ofTheBody = [...]string{
	"Accept-Ranges", "Content-Digest", "Content-Disposition", "Content-Encoding", "Content-Language", "Content-Length",
	"Content-Location", "Content-Md5", "Content-Range", "Content-Type", "Digest", "Etag", "Last-Modified", "Repr-Digest",
	"Surrogate-Control", "Trailer",
}

// Write implements [http.ResponseWriter].
func (w *pageWriter) Write(b []byte) (int, error) {
	if !w.wrote {
		w.WriteHeader(http.StatusOK)
	}
	if w.shown {
		return len(b), nil // of what nobody reads
	}
	return w.ResponseWriter.Write(b)
}

// Flush implements [http.Flusher].
func (w *pageWriter) Flush() { _ = w.FlushError() } // a Flusher cannot report

// FlushError serves [http.ResponseController].
func (w *pageWriter) FlushError() error {
	if !w.wrote {
		w.WriteHeader(http.StatusOK)
	}
	return http.NewResponseController(w.ResponseWriter).Flush()
}
