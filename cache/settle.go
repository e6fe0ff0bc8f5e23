package cache

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/foretier/foretier/cache/internal/law"
	"github.com/foretier/foretier/cache/internal/memory"
	"github.com/foretier/foretier/internal/fields"
)

// read says what a response means to those who wait for it.
func (q *question) read(r response) answer {
	switch {
	case r.cause != nil:
		return q.coverable(answer{kind: private, status: r.status, why: "error of the tier", cause: r.cause}, r.now)
	case r.status == http.StatusNotModified && q.stale != nil && validates(r.request):
		if !law.Validates(q.stale.Header(), r.header) {
			return answer{kind: again}
		}
		return q.update(r)
	case r.status >= 500 && q.stale != nil && q.ask.mayCover(q.stale, r.now):
		return answer{kind: covered, status: r.status, why: "status " + strconv.Itoa(r.status), held: q.stale}
	}
	header, length := r.header.Clone(), fields.Length(r.header)
	fields.RemoveHopByHop(header)
	if q.begun != nil && r.request.Header["Range"] != nil && (r.status == http.StatusPartialContent || r.status == http.StatusRequestedRangeNotSatisfiable) {
		return q.completed(r, header)
	}
	return q.judged(r, header, length)
}

// failure is the answer of a fetch that ended without a header.
func (q *question) failure(err error, now time.Time) answer {
	an := answer{kind: failed, status: http.StatusBadGateway, why: "failed", cause: err}
	if errors.Is(err, context.DeadlineExceeded) {
		an.status = http.StatusGatewayTimeout
	}
	return q.coverable(an, now)
}

// coverable has what is stored served in place of an error, if it may be.
func (q *question) coverable(an answer, now time.Time) answer {
	if q.stale != nil && q.ask.mayCover(q.stale, now) {
		an.kind, an.held = covered, q.stale
	}
	return an
}

// completed is the answer to a request for the rest of what is stored. Its
// leader has asked for the whole, so the rest alone is of no use.
func (q *question) completed(r response, header http.Header) answer {
	header, length, ok := combined(q.begun, header)
	if !ok {
		return answer{kind: again, cause: errNotTheRest}
	}
	r.status = http.StatusOK
	an := q.judged(r, header, length)
	if an.kind != shared {
		return answer{kind: again, cause: errNotTheRest}
	}
	an.completes = true
	keepTags(an.entry, q.begun)
	return an
}

// judged is the answer that a response is which neither confirms nor completes
// what is stored, nor is covered by it.
func (q *question) judged(r response, header http.Header, length int64) answer {
	v, j := q.ask.judge(r.request, r.status, header, r.asked, r.now)
	why := v.Why
	if v.Store {
		why = q.unfit(r, v, j, header, length)
	}
	if !v.Store || why != "" {
		if q.ask.bent() && r.status < 500 {
			return answer{kind: unlike, cause: errUnlike, mark: q.markFor(r.status, r.header)}
		}
		return answer{kind: private, status: r.status, why: why, retention: v, mark: q.markFor(r.status, r.header)}
	}
	an := answer{kind: shared, status: r.status, header: header, length: length, aged: header["Age"] != nil, unmark: true, retention: v}
	if len(j.Private) > 0 {
		an.own = header.Clone()
		v.rewrite(an.own)
	}
	an.entry = q.ask.entry(r.status, header, v, j, r.asked, r.now)
	if r.status == http.StatusPartialContent && !cut(an.entry, q.ask.r.Header.Get("Range"), header, length) {
		return answer{kind: private, status: r.status, why: "a part of unknown place or size", retention: v, unmark: true}
	}
	return an
}

// unfit says why a response is not stored although it may be, or "".
func (q *question) unfit(r response, v Retention, j law.Judgement, header http.Header, length int64) string {
	switch {
	case !worthKeeping(v, j, header):
		return "no lifetime"
	case r.request.Header["Range"] != nil && r.status != http.StatusOK && r.status != http.StatusPartialContent:
		return "answers a range"
	case r.unproven:
		return "end of the body unknown"
	case len(r.header["Trailer"]) > 0:
		return "trailers"
	case length > q.ask.site.cache.opts.MaxBody:
		return "too large"
	}
	return ""
}

// roomless is what a shared answer becomes for whose body there is no room, which
// passes.
func (q *question) roomless(an answer) answer {
	if an.completes {
		return answer{kind: again, cause: errNotTheRest}
	}
	if q.ask.bent() {
		return answer{kind: unlike, cause: errUnlike}
	}
	return answer{kind: private, status: an.status, why: "no room", retention: an.retention}
}

// markFor returns for how long nobody need wait for what q asks for, given an
// answer that is not stored; 0 if what holds for its leader need not hold for
// others.
func (q *question) markFor(status int, header http.Header) time.Duration {
	personal := q.ask.personal()
	if q.ask.cookie && !q.ask.apart() { // who is told so, whatever the cookies, is all, as a rule
		personal = !fields.OwnToClient(header)
	}
	switch {
	case q.refresh: // what is stored is still served, or asked for by who may have another answer
		return 0
	case personal || q.ask.partial || law.OfRequest(status, header) || law.Provoked(status):
		return 0
	case status >= 500:
		return time.Second
	}
	return 2 * time.Minute
}

// validates reports whether a request asks the backend to validate.
func validates(r *http.Request) bool {
	return r.Header["If-None-Match"] != nil || r.Header["If-Modified-Since"] != nil
}

// update puts what a 304 says into what is stored (RFC 9111, section 4.3.4).
// The result is asked whatever a response is asked that comes whole: what sets
// a cookie, or is private by now, is its leader's alone, and the others ask for
// themselves.
func (q *question) update(r response) answer {
	header := law.Update(q.stale.Header(), r.header)
	v, j := q.ask.judge(r.request, int(q.stale.Status), header, r.asked, r.now)
	an := answer{kind: modified, status: r.status, held: q.stale, forOne: !v.Store, unmark: v.Store}
	if !v.Store || len(j.Private) > 0 {
		an.merged = q.updated(r, header.Clone(), v, law.Judgement{Age: j.Age})
	}
	an.entry = q.updated(r, header, v, j)
	if v.Store && worthKeeping(v, j, header) {
		an.renewed = an.entry
		return an
	}
	if an.renewed = q.confirmed(r); an.renewed == nil && an.forOne {
		an.mark = q.markFor(r.status, r.header) // nobody need wait for the like
	}
	return an
}

// confirmed returns what is stored, renewed by a 304 that is its asker's alone
// (RFC 9111, section 4.3.4), or nil: whoever asks, the page is as it was. But
// only how long it lives is taken from the answer. The rest may be about the
// visitor, and if the answer says that it is not for others, the page stays as
// stale as it is and waits for a better witness, as it does after a whole answer
// that is private: what a visitor can bring a backend to say must not throw a page
// away.
func (q *question) confirmed(r response) *memory.Entry {
	header := law.Confirm(q.stale.Header(), r.header, q.ask.site.cache.called)
	nobody := *q.ask
	nobody.cookie, nobody.auth, nobody.noStore = false, false, false
	v, j := nobody.judge(r.request, int(q.stale.Status), header, r.asked, r.now)
	if !v.Store || v.Fresh <= 0 {
		return nil
	}
	return q.updated(r, header, v, j)
}

// updated returns what is stored with another header. It stays the variant that
// it is, and keeps its tags: the fields that named them were taken off.
func (q *question) updated(r response, header http.Header, v Retention, j law.Judgement) *memory.Entry {
	e := q.ask.entry(int(q.stale.Status), header, v, j, r.asked, r.now)
	if old := q.stale.More; old != nil && e.More != nil && e.More.Vary == old.Vary {
		e.More.Variant = old.Variant
	}
	keepTags(e, q.stale)
	e.SetBody(q.stale.Chunks()) // shared: its bytes count twice until the old one is gone
	q.ask.site.cache.keepForms(e, q.stale)
	return e
}

// keepTags gives e the tags of what it is made from.
func keepTags(e, from *memory.Entry) {
	if from.More == nil || len(from.More.Tags) == 0 {
		return
	}
	if e.More == nil {
		e.More = new(memory.More)
	}
	for _, tag := range from.More.Tags {
		if !slices.Contains(e.More.Tags, tag) {
			e.More.Tags = append(e.More.Tags, tag)
		}
	}
}
