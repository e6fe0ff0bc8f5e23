package cache

import (
	"net/http"
	"time"

	"github.com/foretier/foretier/cache/internal/law"
	"github.com/foretier/foretier/internal/fields"
)

// pass hands the request to next with the client's own writer. a may be nil.
func (h *handler) pass(w http.ResponseWriter, r *http.Request, a *ask, reason, why string) {
	h.cache.figures.passes.Add(1)
	passes := h.cache.passings.of(why)
	h.cache.reasons.count(passes.why)
	h.cache.most.pass(time.Now(), r, passes.why)
	h.note(r, passes.note)
	if r.Header["Upgrade"] != nil {
		h.next.ServeHTTP(w, r)
		return
	}
	r = told(r)
	p := &passWriter{ResponseWriter: w, h: h, r: r, ask: a, reason: reason, passes: passes}
	defer func() { p.post.drop() }() // it may panic
	h.next.ServeHTTP(p, r)
	if !p.wrote {
		p.WriteHeader(http.StatusOK)
	}
	p.post.end()
	if p.storable && p.written <= h.cache.opts.MaxBody {
		h.cache.markers.clear(a.marker([]byte(a.url)))
	}
}

// A passWriter sees the head of a response that goes straight through.
type passWriter struct {
	http.ResponseWriter
	h        *handler
	r        *http.Request
	ask      *ask
	reason   string // in the words of RFC 9211
	passes   *passing
	wrote    bool
	written  int64
	storable bool    // the mark is to be taken off, if it is not too large
	post     *posted // what is stored of a response to POST, else nil
}

// Unwrap is for [http.ResponseController].
func (p *passWriter) Unwrap() http.ResponseWriter { return p.ResponseWriter }

// WriteHeader implements [http.ResponseWriter].
func (p *passWriter) WriteHeader(status int) {
	if status >= 200 && !p.wrote {
		p.wrote = true
		p.conclude(status)
	}
	p.ResponseWriter.WriteHeader(status)
}

// Write implements [http.ResponseWriter].
func (p *passWriter) Write(b []byte) (int, error) {
	if !p.wrote {
		p.WriteHeader(http.StatusOK)
	}
	p.post.write(b)
	n, err := p.ResponseWriter.Write(b)
	p.written += int64(n)
	return n, err
}

// Flush implements [http.Flusher].
func (p *passWriter) Flush() { _ = p.FlushError() }

// FlushError is for [http.ResponseController].
func (p *passWriter) FlushError() error {
	if !p.wrote {
		p.WriteHeader(http.StatusOK)
	}
	return http.NewResponseController(p.ResponseWriter).Flush()
}

// conclude draws the conclusions from the head of the response.
func (p *passWriter) conclude(status int) {
	h, header := p.h, p.Header()
	tagged := len(law.Tags(header)) > 0
	switch {
	case law.Unsafe(p.r.Method):
		if status >= 200 && status < 400 {
			h.invalidate(p.r, header)
		}
		if p.r.Method == http.MethodPost && header["Content-Location"] != nil && p.reason == "bypass" && p.ask == nil {
			p.post = h.keepPost(p.r, status, header)
		}
	case p.ask == nil:
	case p.r.Method == http.MethodHead:
		// It says nothing of what a GET brings (RFC 9111, section 4.3.5), but is told
		// what a GET would be.
		v, _ := p.ask.judge(p.r, status, header, p.ask.now, time.Now())
		v.rewriteOwn(header)
		if h.cache.coders.codable(header) {
			fields.VaryByCoding(header)
		}
	default:
		v, j := p.ask.judge(p.r, status, header, p.ask.now, time.Now())
		p.storable = v.Store && worthKeeping(v, j, header)
		v.rewriteOwn(header)
	}
	if tagged {
		for _, name := range law.TagFields {
			delete(header, name)
		}
	}
	p.passes.addStatus(h.cache, header, p.reason, status)
}
