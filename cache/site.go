package cache

import (
	"net/http"
	"sync"

	"github.com/foretier/foretier/internal/given"
)

// A site is where requests are read: a cache, and what it knows of the handler
// that it wraps there.
type site struct {
	cache   *Cache
	next    http.Handler
	owners  []cookieOwner
	loopers []looper
	warned  sync.Once // of Vary: User-Agent
}

// A cookieOwner is a layer below that has cookies of its own, a pool that pins
// visitors.
type cookieOwner interface{ OwnsCookie(name string) bool }

// A looper is a layer below that knows a request again which has been through
// it, a pool. Such a request must not wait for the fetch that it comes from.
type looper interface{ Looped(*http.Request) bool }

// findOwners looks for owners of cookies in what next wraps, and for loopers.
func (s *site) findOwners(next http.Handler) {
	if given.Nil(next) {
		return // whoever serves with it is told when it is made
	}
	if o, ok := next.(cookieOwner); ok {
		s.owners = append(s.owners, o)
	}
	if l, ok := next.(looper); ok {
		s.loopers = append(s.loopers, l)
	}
	if w, ok := next.(interface{ Wraps() []http.Handler }); ok {
		for _, below := range w.Wraps() {
			s.findOwners(below)
		}
	}
}

func (s *site) looped(r *http.Request) bool {
	for _, l := range s.loopers {
		if l.Looped(r) {
			return true
		}
	}
	return false
}

// owned reports whether a cookie is the tier's own. Such stay on what is sent
// below, which takes them off itself.
func (s *site) owned(name string) bool {
	for _, o := range s.owners {
		if o.OwnsCookie(name) {
			return true
		}
	}
	return false
}

// ignored reports whether a cookie has no bearing on the response.
func (s *site) ignored(name string) bool {
	return names(s.cache.opts.IgnoreCookies).match(name) || s.owned(name)
}

func (s *site) ignoresAny() bool { return len(s.cache.opts.IgnoreCookies) > 0 || len(s.owners) > 0 }
