package balancer

import (
	"net/http"

	"github.com/foretier/foretier/internal/fields"
)

// Affinity binds clients to backends. Its methods are called by many
// goroutines at once.
type Affinity interface {
	// Choose returns the name of the backend that the client is bound to, or
	// a key by which equal clients are sent to one backend, or neither.
	Choose(*http.Request) (name, key string)
	// Strip removes from the header of a request what only Choose needs. It
	// is given a copy.
	Strip(http.Header)
	// Bind adds to a response's header what binds the client to the backend
	// that answered. It is called once, for the response that the client
	// gets. r is the request as the client sent it. An answer to which it
	// adds a cookie is not stored by any cache.
	Bind(h http.Header, r *http.Request, name string)
}

// bind lets the affinity bind, and keeps what became one client's own from
// being shared. An answer that a cache in front means to share binds nobody,
// because it would be the first visitor's binding that is shared.
func (p *proxy) bind(res *http.Response, x *exchange) {
	h := res.Header
	if x.rec != nil && x.rec.Storable != nil && x.rec.Storable(res.StatusCode, h) {
		return
	}
	before := len(h["Set-Cookie"])
	p.opts.Affinity.Bind(h, x.req, x.ask.Pin)
	if len(h["Set-Cookie"]) == before {
		return
	}
	fields.CacheControl(h, "no-store")
}

// OwnsCookie reports whether the cookie of that name is the pool's own, its
// affinity's: it says nothing of what the client may see. The affinity tells
// by a method of the same form.
func (p *proxy) OwnsCookie(name string) bool {
	o, ok := p.opts.Affinity.(interface{ OwnsCookie(name string) bool })
	return ok && o.OwnsCookie(name)
}
