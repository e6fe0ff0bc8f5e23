package transit

import (
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"time"
)

// A Lesson is what an edge learns of a request that was answered from what a
// cache has stored: that for as long as the stages on its way say so, the like
// of it gets the same answer, and they need not be asked. Its zero value teaches
// nothing.
//
// It passes from stage to stage: see relay. A stage that has read of the request more
// than its method, scheme, host and target, and whether it accepts certain codings, names
// nobody.
type Lesson struct {
	relay
	stages [maxStages]Stage
	n      int
	page   Page
}

// maxStages is how many stages may take part beside edge and cache: a router and one
// within its rule, what compresses and what composes.
const maxStages = 4

// A Stage is what a stage that has taken part asks for: to be gone by as long
// as its generation is the same, and to have each answer counted, by Counts if that is
// not nil.
type Stage struct {
	Generation *atomic.Uint64
	Was        uint64
	Counts     Counter
}

// A Counter counts requests that were answered with a status without their stage, in no
// time. It is safe for concurrent use.
type Counter interface{ CountInstant(status int) }

// Holds reports whether nothing has changed.
func (s *Stage) Holds() bool { return s.Generation.Load() == s.Was }

// A Page is a stored response from which requests may be answered. It is safe
// for concurrent use.
type Page interface {
	// Open reports whether the response may be used now as it is, without
	// anything that the cache does besides, and counts it as a hit then. It also
	// returns how old the response is, and how long it is fresh, in seconds. Who
	// holds it must call Send.
	Open(now time.Time, hold bool) (age, ttl int64, ok bool)
	// NotModified reports whether a GET with these conditions is answered 304, that
	// the client's copy is still the answer.
	NotModified(c Conditions, now time.Time) bool
	// Ignores reports whether a cookie of a request has no bearing.
	Ignores(cookie string) bool
	// Len returns the length of the body in bytes.
	Len() int64
	// AppendBody appends the first n bytes of the body, or all that there are. It is
	// called once for each answer that has one.
	AppendBody(b []byte, n int) []byte
	// Send writes the body from its byte at from on, on behalf of a client, and
	// lets go of the response. Who takes it too slowly may be broken off.
	Send(to Sink, from int64, client netip.Addr) (n int64, err error)
	// Keep keeps m, which takes n bytes, beside the stored response, and reports
	// whether the response is still what answers. m ends with that.
	Keep(m Memo, n int64) bool
	// Forget ends the keeping of m.
	Forget(m Memo)
}

// Conditions are those of a request under which the answer is 304 (RFC 9110, sections
// 13.1.2 and 13.1.3). The zero value has none.
type Conditions struct {
	Tagged        bool   // there is an If-None-Match, and only that counts
	NoneMatch     string // its list
	ModifiedSince string // empty: none, or more than one
}

// ConditionsOf returns those of a request.
func ConditionsOf(h http.Header) (c Conditions) {
	if lines := h["If-None-Match"]; len(lines) > 0 {
		c.Tagged, c.NoneMatch = true, strings.Join(lines, ",")
	}
	if lines := h["If-Modified-Since"]; len(lines) == 1 {
		c.ModifiedSince = lines[0]
	}
	return c
}

// Any reports whether there are any.
func (c *Conditions) Any() bool { return c.Tagged || c.ModifiedSince != "" }

// A Memo is what an edge keeps of an answer beside what it was made from.
type Memo interface {
	// End says that the stored response is gone, or no longer the answer. It
	// calls nobody, and holds no lock for long.
	End()
}

// A Sink is where a body goes.
type Sink interface {
	Write([]byte) (int, error)
	SetWriteDeadline(time.Time) error
}

// Pass adds s, which has taken part, and says who is next.
func (l *Lesson) Pass(s Stage, next http.Handler) {
	if l.n < maxStages {
		l.stages[l.n] = s
		l.n++
		l.next = next
	}
}

// Answer says from what the request was answered.
func (l *Lesson) Answer(p Page) { l.page = p }

// Unlearn says that the like of the request may get another answer after all.
func (l *Lesson) Unlearn() { l.page = nil }

// Learned returns from what the request was answered, or nil, and the stages
// on its way.
func (l *Lesson) Learned() (Page, []Stage) { return l.page, l.stages[:l.n] }
