package cache

import (
	"net/http"

	"github.com/foretier/foretier/cache/internal/law"
	"github.com/foretier/foretier/cache/internal/memory"
	"github.com/foretier/foretier/health"
)

// A choice is what is done with a request that is looked up, given what is
// stored. Serving acts on it and Explain renders it, so that the two agree.
type choice struct {
	act    act
	reason string // why it is forwarded, in the words of RFC 9211
	why    string // in words
}

// An act is what is done.
type act uint8

const (
	serveFresh   act = iota // from what is stored
	serveInGrace            // stale; refreshed behind the client's back
	serveSick               // stale; the backend is sick or was just now
	refuse                  // with 504: only what is stored is wanted
	passOn                  // to the backend, for this client alone
	fetchWhole              // from the backend, for all who wait; what is stored is validated
	fetchPart               // as the one part that is asked for
)

// choose decides what is done with a, for which e is stored under url, or nil.
func (a *ask) choose(e *memory.Entry, url []byte) choice {
	c := choice{act: fetchWhole, reason: "uri-miss", why: "nothing stored matches"}
	if e != nil {
		whole := e.Flags&memory.Part == 0
		switch use := a.use(e); {
		case use == law.Fresh:
			return choice{act: serveFresh}
		case use == law.Grace && whole:
			return choice{act: serveInGrace, why: "stale within grace, refreshed meanwhile"}
		case use == law.Sick && whole && len(a.cc) == 0 && (e.Resting(a.now) || !health.Healthy(a.h.next, a.r)):
			return choice{act: serveSick, why: "stale, and the backend is sick"}
		}
		c.reason, c.why = "stale", "stale"
		if len(a.cc) > 0 && law.Reuse(a.stored(e), nil, a.now.UnixNano()) == law.Fresh {
			c.reason, c.why = "request", "the request wants a newer one"
		}
	}
	switch {
	case a.cc.Has("only-if-cached"): // RFC 9111, section 5.2.1.7
		c.act, c.why = refuse, "only-if-cached"
	case a.h.looped(a.r):
		c.act, c.reason, c.why = passOn, "bypass", "loop"
	case a.r.Method == http.MethodHead:
		c.act, c.why = passOn, "HEAD"
	case a.r.Header["Range"] != nil && (e == nil || e.Flags&memory.Part != 0 || e.Len() > maxPart):
		if c.act, c.why = passOn, "Range"; a.ranged() {
			c.act = fetchPart // parts are not validated
			if a.marked(url) {
				c.act, c.why = passOn, lately
			}
		}
	case e == nil && a.marked(url):
		c.act, c.why = passOn, lately
	}
	return c
}

// lately is why what is marked passes.
const lately = "not to be stored lately"
