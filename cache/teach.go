package cache

import (
	"net/http"
	"net/netip"
	"slices"
	"time"

	"github.com/foretier/foretier/cache/internal/law"
	"github.com/foretier/foretier/cache/internal/memory"
	"github.com/foretier/foretier/internal/transit"
)

// lesson returns the lesson that r's record has for h, or nil. It is asked for
// each request, before anybody below may come back with another.
func (h *handler) lesson(r *http.Request) *transit.Lesson {
	if rec, ok := transit.Lookup(r.Context()); ok && rec.Lesson.Takes(h) {
		return &rec.Lesson
	}
	return nil
}

// teach says that a was answered from e, if nothing of the request but scheme,
// host, target, the codings that it accepts and its conditions has a bearing on that.
// The edge gives a lesson to those only that have neither body nor ranges nor orders.
func (h *handler) teach(l *transit.Lesson, a *ask, e *memory.Entry) {
	rules := &h.cache.opts.Rules
	if rules.Plan != nil && !rules.PlanByURL || len(a.plan.Classes) > 0 || a.bent() {
		return
	}
	if vary, _ := e.Vary(); e.Status != http.StatusOK || e.Flags&(memory.Part|memory.Validate) != 0 || vary != "" && vary != acceptEncoding {
		return
	}
	if !a.as.final() {
		return
	}
	p := &repeatable{h: h, e: e, form: a.as.form, cookies: a.plan.Cookies, accepts: a.r.Header[acceptEncoding]}
	if a.r.Header["Cookie"] != nil && hasCookie(a.r.Header, p.Ignores) {
		return
	}
	l.Answer(p)
}

const acceptEncoding = "Accept-Encoding"

// A repeatable is a stored response that has answered a request, and may answer its
// like. It implements [transit.Page].
type repeatable struct {
	h       *handler
	e       *memory.Entry
	form    *memory.Entry // in which it is sent: one of e's, or e
	cookies []string      // that are in its key
	accepts []string      // what its request has said of codings; nil once it is kept
}

// Open implements [transit.Page]. What is near its end, or in doubt, is for the
// chain, which may refresh it.
func (p *repeatable) Open(now time.Time, hold bool) (age, ttl int64, ok bool) {
	c := p.h.cache
	if c.use(p.e, nil, now) != law.Fresh {
		return 0, 0, false
	}
	if _, _, may := nearEnd(p.e, now); may || hold && !c.store.TryRetain(p.e) {
		return 0, 0, false
	}
	c.figures.hits.Add(1)
	p.e.Mark()
	return p.e.Age(now), p.e.TTL(now), true
}

// NotModified implements [transit.Page].
func (p *repeatable) NotModified(c transit.Conditions, now time.Time) bool {
	return notModified(p.form, c, now)
}

// Ignores implements [transit.Page].
func (p *repeatable) Ignores(cookie string) bool {
	return p.h.ignored(cookie) && !slices.Contains(p.cookies, cookie)
}

// Len implements [transit.Page].
func (p *repeatable) Len() int64 { return p.form.Len() }

// AppendBody implements [transit.Page].
func (p *repeatable) AppendBody(b []byte, n int) []byte {
	if p.form != p.e {
		p.h.cache.saved(p.e, p.form)
	}
	b = append(b, p.form.Body[:min(n, len(p.form.Body))]...)
	if n -= len(p.form.Body); n > 0 && p.form.More != nil {
		for _, chunk := range p.form.More.Chunks {
			if n <= 0 {
				break
			}
			b = append(b, chunk[:min(n, len(chunk))]...)
			n -= len(chunk)
		}
	}
	return b
}

// Send implements [transit.Page].
func (p *repeatable) Send(to transit.Sink, from int64, client netip.Addr) (n int64, err error) {
	store := p.h.cache.store
	defer store.Release(p.e)
	l := lendTo(to, client)
	defer l.end()
	store.Pin(&l.Pin, p.e, time.Now().UnixNano())
	defer store.Unpin(&l.Pin)
	send := func(chunk []byte) bool {
		skip := min(from, int64(len(chunk)))
		if from -= skip; skip < int64(len(chunk)) {
			var m int
			m, err = l.Write(chunk[skip:])
			n += int64(m)
		}
		return err == nil
	}
	if !send(p.form.Body) || p.form.More == nil {
		return n, err
	}
	for _, chunk := range p.form.More.Chunks {
		if !send(chunk) {
			break
		}
	}
	return n, err
}

// Keep implements [transit.Page].
func (p *repeatable) Keep(m transit.Memo, n int64) bool {
	kept := p.h.cache.store.Keep(p.e, m, n, p.hiddenBy)
	p.accepts = nil // the text of a whole header hangs on it
	return kept
}

// hiddenBy reports whether a newer response may answer some of the requests that
// are answered from p.
func (p *repeatable) hiddenBy(newer *memory.Entry) bool {
	if newer.HTTPS != p.e.HTTPS || newer.Parts() != p.e.Parts() || newer.Flags&memory.Part != 0 {
		return false
	}
	vary, variant := newer.Vary()
	if vary != acceptEncoding {
		return true
	}
	s := law.Selector{Header: http.Header{acceptEncoding: p.accepts}}
	return s.Selects(vary, variant, func() string { return "" })
}

// Forget implements [transit.Page].
func (p *repeatable) Forget(m transit.Memo) { p.h.cache.store.Forget(p.e, m) }
