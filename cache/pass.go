package cache

import (
	"net/http"
	"time"

	"github.com/foretier/foretier/cache/internal/law"
	"github.com/foretier/foretier/cache/internal/memory"
	"github.com/foretier/foretier/internal/fields"
	"github.com/foretier/foretier/internal/transit"
)

// pass hands the request to next with the client's own writer. a may be nil.
func (h *handler) pass(w http.ResponseWriter, r *http.Request, a *ask, reason, why string) {
	h.cache.figures.passes.Add(1)
	h.note(r, note("pass: "+why))
	if r.Header["Upgrade"] != nil {
		h.next.ServeHTTP(w, r)
		return
	}
	p := &passWriter{ResponseWriter: w, h: h, r: r, ask: a, reason: reason, why: why}
	defer p.drop()
	h.next.ServeHTTP(p, r)
	if !p.wrote {
		p.WriteHeader(http.StatusOK)
	}
	p.end()
}

// A passWriter sees the head of a response that goes straight through.
type passWriter struct {
	http.ResponseWriter
	h           *handler
	r           *http.Request
	ask         *ask
	reason, why string
	wrote       bool
	written     int64
	storable    bool // the mark is to be taken off, if it is not too large

	// Of a response to POST that is to be stored, else nil.
	entry    *memory.Entry
	body     *stream
	position Position
	length   int64
}

// Unwrap is for [http.ResponseController].
func (p *passWriter) Unwrap() http.ResponseWriter { return p.ResponseWriter }

// WriteHeader implements [http.ResponseWriter].
func (p *passWriter) WriteHeader(status int) {
	if status >= 200 && !p.wrote {
		p.wrote = true
		p.h.passed(p, status)
	}
	p.ResponseWriter.WriteHeader(status)
}

// Write implements [http.ResponseWriter].
func (p *passWriter) Write(b []byte) (int, error) {
	if !p.wrote {
		p.WriteHeader(http.StatusOK)
	}
	if p.body != nil {
		// Nobody reads, so this never waits: what is too large is let go.
		if p.body.write(p.r.Context(), b, p.h.cache.opts.MaxBody) != nil {
			p.drop()
		}
	}
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

// passed draws the conclusions from a response that goes straight through.
func (h *handler) passed(p *passWriter, status int) {
	header := p.Header()
	tagged := len(law.Tags(header)) > 0
	switch {
	case law.Unsafe(p.r.Method):
		if status >= 200 && status < 400 {
			h.invalidate(p.r, header)
		}
		if p.r.Method == http.MethodPost && header["Content-Location"] != nil && p.reason == "bypass" && p.ask == nil {
			h.keepPost(p, status)
		}
	case p.ask == nil:
	case p.r.Method == http.MethodHead: // it says nothing of what a GET brings, see RFC 9111, section 4.3.5
	default:
		if v, j := p.ask.judge(p.r, status, header, p.ask.now, time.Now()); v.Store && worthKeeping(v, j, header) {
			p.storable = true
		}
	}
	if tagged {
		for _, name := range law.TagFields {
			delete(header, name)
		}
	}
	h.cache.addStatus(header, "; fwd="+p.reason+"; fwd-status="+itoa(status)+detail(p.why))
}

// keepPost begins to store the response to a POST that says that it is what a
// GET would bring, and for how long (RFC 9110, section 9.3.3). It is stored
// behind the invalidation that the POST itself is. Only a 200 says so, and only
// one to a request that asks for the whole (RFC 9110, section 8.7).
func (h *handler) keepPost(p *passWriter, status int) {
	if status != http.StatusOK {
		return
	}
	for name := range p.r.Header {
		if narrows(http.CanonicalHeaderKey(name)) {
			return
		}
	}
	read, url := h.read(p.r, nil)
	a := read.keep(url)
	if p.r.Host != keyHost(p.r) || p.r.Header["Cookie"] != nil || a.plan.Query.apply(p.r.URL.RawQuery) != p.r.URL.RawQuery {
		return // what a page may have of these is not in the key
	}
	now := time.Now()
	answer := p.Header().Clone()
	fields.RemoveHopByHop(answer)
	verdict, j := a.judge(p.r, status, answer, a.now, now)
	length := contentLength(answer)
	if a.plan.Pass || !verdict.Store || !worthKeeping(verdict, j, answer) || length > h.cache.opts.MaxBody {
		return
	}
	p.position, p.length = h.cache.log.head(), length
	p.body = &stream{store: h.cache.store}
	if !p.body.expect(max(0, length)) {
		p.body = nil
		return
	}
	p.entry = a.entry(status, answer, verdict, j, a.now, now)
}

// end draws the last conclusions, from a response that is whole.
func (p *passWriter) end() {
	if p.storable && p.written <= p.h.cache.opts.MaxBody {
		p.h.cache.markers.clear(p.ask.marker([]byte(p.ask.url)))
	}
	if p.body == nil {
		return
	}
	body := p.body
	p.body = nil
	chunks, reserved, ok := body.take()
	unproven := transit.From(p.r.Context()) != nil && transit.From(p.r.Context()).Unproven
	if !ok || unproven || p.r.Context().Err() != nil || p.length >= 0 && body.size != p.length {
		p.h.cache.store.Unreserve(reserved)
		return
	}
	length := int64(-1)
	if p.length < 0 {
		length = body.size
	}
	p.h.cache.add(p.position, p.entry.Whole(chunks, length), reserved)
}

// drop gives back what was taken for a body that is not stored after all.
func (p *passWriter) drop() {
	if p.body != nil {
		p.body.give()
		p.body = nil
	}
}
