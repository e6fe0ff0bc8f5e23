package cache

import (
	"net/http"
	"sync"

	"github.com/foretier/foretier/health"
	"github.com/foretier/foretier/internal/fields"
	"github.com/foretier/foretier/internal/given"
)

// A site is where requests are read: a cache, and what it knows of the handler
// that it wraps there.
type site struct {
	cache   *Cache
	next    http.Handler
	owners  []health.CookieOwner
	loopers []health.LoopDetector
	warned  sync.Once // of Vary: User-Agent
}

// findOwners looks below for owners of cookies, and for what detects loops.
func (s *site) findOwners(next http.Handler) {
	for below := range health.Chain(next) {
		if given.Nil(below) {
			continue // whoever serves with it is told when it is made
		}
		if o, ok := below.(health.CookieOwner); ok {
			s.owners = append(s.owners, o)
		}
		if l, ok := below.(health.LoopDetector); ok {
			s.loopers = append(s.loopers, l)
		}
	}
}

// looped reports whether r has been through a layer below before. Such a request
// must not wait for the fetch that it comes from.
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
	return fields.Names(s.cache.opts.IgnoreCookies).Match(name) || s.owned(name)
}

func (s *site) ignoresAny() bool { return len(s.cache.opts.IgnoreCookies) > 0 || len(s.owners) > 0 }
