package balancer

import (
	"net/http"
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
