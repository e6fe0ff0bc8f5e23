package cache

import (
	"net/http"
	"time"

	"github.com/foretier/foretier/cache/internal/memory"
	"github.com/foretier/foretier/internal/fields"
	"github.com/foretier/foretier/internal/transit"
)

// A posted is the response to a POST that is being stored while it passes. The
// methods of nil do nothing.
type posted struct {
	h        *handler
	r        *http.Request
	entry    *memory.Entry
	body     *stream // nil once it is stored or given up
	position Position
	length   int64
}

// keepPost begins to store the response to a POST that says that it is what a
// GET would bring, and for how long (RFC 9110, section 9.3.3). It is stored
// behind the invalidation that the POST itself is. Only a 200 says so, and only
// one to a request that asks for the whole (RFC 9110, section 8.7). It returns nil
// if nothing is to be stored.
func (h *handler) keepPost(r *http.Request, status int, header http.Header) *posted {
	if status != http.StatusOK {
		return nil
	}
	for name := range r.Header {
		if narrows(http.CanonicalHeaderKey(name)) {
			return nil
		}
	}
	read, url := h.read(r, nil)
	a := read.detached(url)
	if r.Host != keyHost(r) || r.Header["Cookie"] != nil || a.plan.Query.apply(r.URL.RawQuery) != r.URL.RawQuery {
		return nil // what a page may have of these is not in the key
	}
	now := time.Now()
	answer := header.Clone()
	fields.RemoveHopByHop(answer)
	retention, j := a.judge(r, status, answer, a.now, now)
	length := fields.Length(answer)
	if a.plan.Pass || !retention.Store || !worthKeeping(retention, j, answer) || length > h.cache.opts.MaxBody {
		return nil
	}
	p := &posted{h: h, r: r, position: h.cache.log.head(), length: length, body: &stream{store: h.cache.store}}
	if !p.body.expect(max(0, length)) {
		return nil
	}
	p.entry = a.entry(status, answer, retention, j, a.now, now)
	return p
}

// write takes what is passed on. Nobody reads, so it never waits: what is too
// large is let go.
func (p *posted) write(b []byte) {
	if p != nil && p.body != nil && p.body.write(p.r.Context(), b, p.h.cache.opts.MaxBody) != nil {
		p.drop()
	}
}

// end stores what has passed, if it is whole.
func (p *posted) end() {
	if p == nil || p.body == nil {
		return
	}
	body := p.body
	p.body = nil
	chunks, reserved, ok := body.handOver()
	if !ok || transit.From(p.r.Context()).Unproven || p.r.Context().Err() != nil || p.length >= 0 && body.size != p.length {
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
func (p *posted) drop() {
	if p != nil && p.body != nil {
		p.body.release()
		p.body = nil
	}
}
