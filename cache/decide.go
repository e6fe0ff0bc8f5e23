package cache

import (
	"net/http"

	"github.com/foretier/foretier/cache/internal/law"
	"github.com/foretier/foretier/cache/internal/memory"
	"github.com/foretier/foretier/health"
)

// A decision is what is done with a request. Serving acts on it and Explain
// renders it, so that the two agree.
type decision struct {
	act    act
	reason string // why it is forwarded, in the words of RFC 9211
	why    string // in words
	detail string // what a client is told of it
}

// An act is what is done.
type act uint8

const (
	serveFresh   act = iota // from what is stored
	serveInGrace            // stale; refreshed behind the client's back
	serveSick               // stale; the backend is sick or was just now
	refuse                  // with 504: only what is stored is wanted
	passUnseen              // to the backend, without a look at what is stored
	passByRule              // the same, since a rule says so
	passOn                  // to the backend, for this client alone
	fetchWhole              // from the backend, for all who wait; what is stored is validated
	fetchPart               // as the one part that is asked for
)

// A situation is all that decides about a request that is looked up.
type situation struct {
	stored bool    // something is that matches
	use    law.Use // what it may be used for, given what the request demands
	part   bool    // it is a part
	large  bool    // it is more than is fetched for the sake of a part
	newer  bool    // it is fresh, but the request demands a newer one
	doubt  bool    // it is fresh by its own lifetime, but may have been invalidated
	sick   bool    // the backend is, or was just now

	demands      bool // the request says how fresh the answer must be
	onlyIfCached bool // it wants what is stored or nothing
	looped       bool // it has been through what lies below
	head         bool // it is a HEAD
	ranged       bool // it asks for parts
	onePart      bool // it asks for one that may be stored by itself
	marked       bool // what answers it was not to be stored lately
}

// decide says what is done in a situation.
func decide(s situation) decision {
	whole := s.stored && !s.part
	switch {
	case s.stored && s.use == law.Fresh:
		return decision{act: serveFresh}
	case whole && s.use == law.Grace && s.doubt:
		return decision{act: serveInGrace, why: "stale: " + missed + ", refreshed meanwhile", detail: "stale: " + missed}
	case whole && s.use == law.Grace:
		return decision{act: serveInGrace, why: "stale within grace, refreshed meanwhile"}
	case whole && s.use == law.Sick && s.sick && !s.demands:
		return decision{act: serveSick, why: "stale, and the backend is sick"}
	}
	d := decision{act: fetchWhole, reason: "uri-miss", why: "nothing stored matches"}
	switch {
	case s.newer:
		d.reason, d.why = "request", "the request wants a newer one"
	case s.stored && s.doubt:
		d.reason, d.why = "stale", missed
	case s.stored:
		d.reason, d.why = "stale", "stale"
	}
	return s.forward(d)
}

// forward says how a request is forwarded for d's reason.
func (s *situation) forward(d decision) decision {
	switch {
	case s.onlyIfCached: // RFC 9111, section 5.2.1.7
		d.act, d.why = refuse, "only-if-cached"
	case s.looped:
		d.act, d.reason, d.why = passOn, "bypass", "loop"
	case s.head:
		d.act, d.why = passOn, "HEAD"
	case s.ranged && (!s.stored || s.part || s.large):
		switch {
		case !s.onePart:
			d.act, d.why = passOn, "Range"
		case s.marked:
			d.act, d.why = passOn, lately
		default:
			d.act, d.why = fetchPart, "Range" // parts are not validated
		}
	case !s.stored && s.marked:
		d.act, d.why = passOn, lately
	}
	return d
}

// missed is why what is fresh is not served as such.
const missed = "invalidations may have been missed"

// lately is why what is marked passes.
const lately = "not to be stored lately"

// look finds out what there is to be known of r and decides what is done with it.
// It reads r into a and returns its URL, appended to buf, and what is stored that
// matches, which must be released, or nil.
func (s *site) look(a *ask, r *http.Request, buf []byte) (url []byte, e *memory.Entry, d decision) {
	if why := bypass(r); why != "" {
		return nil, nil, decision{act: passUnseen, reason: "bypass", why: why}
	}
	*a, url = s.read(r, buf)
	if a.plan.Pass {
		return url, nil, decision{act: passByRule, reason: "bypass", why: a.plan.Why}
	}
	e = s.cache.store.Get(url, a.fits)
	return s.lookAlike(a, r, url, e, decide(a.situation(e, url)))
}

// situation returns what decides about a, for which e is stored under url, or
// nil. What has no bearing on what is served at once is not asked then.
func (a *ask) situation(e *memory.Entry, url []byte) situation {
	var s situation
	if e != nil {
		s.stored, s.use, s.part = true, a.use(e), e.Flags&memory.Part != 0
		s.doubt = s.use != law.Fresh && a.site.cache.follower != nil && law.Reuse(a.stored(e), a.cc, a.now.UnixNano()) == law.Fresh
		if s.use == law.Fresh || s.use == law.Grace && !s.part {
			return s
		}
		s.large = e.Len() > maxPart
		s.demands = len(a.cc) > 0
		s.newer = s.demands && law.Reuse(a.stored(e), nil, a.now.UnixNano()) == law.Fresh
		s.sick = s.use == law.Sick && !s.demands && (e.Resting(a.now) || !health.Healthy(a.site.next, a.r))
	}
	s.onlyIfCached = a.cc.Has("only-if-cached")
	s.looped = a.site.looped(a.r)
	s.head = a.r.Method == http.MethodHead
	s.ranged = a.r.Header["Range"] != nil
	s.onePart = s.ranged && a.ranged()
	s.marked = a.marked(url)
	return s
}
