package cache

import (
	"context"
	"maps"
	"net/http"
	"net/textproto"
	"slices"

	"github.com/foretier/foretier/cache/internal/law"
	"github.com/foretier/foretier/cache/internal/memory"
	"github.com/foretier/foretier/internal/fields"
	"github.com/foretier/foretier/internal/transit"
)

// patience is for how many fetches of others a request waits in vain before it
// asks for itself.
const patience = 7

// A question is what a fetch is to ask the backend, and for whom.
type question struct {
	ask       *ask
	stale     *memory.Entry // what is stored and to be validated; may be nil
	begun     *memory.Entry // the stored beginning that is to be completed; may be nil
	selecting string        // the fields by which its responses are known to differ
	plain     bool          // without conditions, although something is stored
	alone     bool          // for nobody else
	refresh   bool          // nobody waits
	turn      *turn         // to be given back when it has been asked, or nil
	late      *flight       // what has been waited for long enough, or nil
	rounds    int           // how many flights of others have not answered it
}

// request returns the request by which the cache asks: the client's, without
// what is not in the key and without its conditions.
func (q *question) request(ctx context.Context) *http.Request {
	a := q.ask
	r := a.r.Clone(ctx)
	for as := range r.Header {
		if name := http.CanonicalHeaderKey(as); narrows(name) && (as != "Range" || !a.partial) {
			delete(r.Header, as)
		}
	}
	// An application that redirects to its own host would else put a redirect to
	// the page itself into its place.
	r.Host = keyHost(r)
	if r.URL.Host != "" {
		r.URL.Host = r.Host
	}
	if to := forwarded(r.URL, a.plan.Query); to.Query != r.URL.RawQuery {
		r.URL.RawQuery = to.Query
		r.RequestURI = to.String()
	}
	a.generalize(r.Header)
	r.Header["Surrogate-Capability"] = []string{a.site.cache.capabilities(ctx)}
	if q.begun != nil && !q.plain {
		askRest(r, q.begun)
	}
	if q.stale != nil && !q.plain {
		askWhetherChanged(r, q.stale)
	}
	return r
}

// generalize takes off a header what is one visitor's, and gives the rest the
// form that it has in the key.
func (a *ask) generalize(h http.Header) {
	if !a.obeyed {
		delete(h, "Cache-Control")
		delete(h, "Pragma")
	}
	// What is told apart as one must be asked for as one.
	if lines := h["Accept-Encoding"]; lines != nil {
		h["Accept-Encoding"] = []string{law.ReadCodings(lines).String()}
	}
	if lines := h["Accept-Language"]; lines != nil {
		if text := law.ReadLanguages(lines).Text; text != "" {
			h["Accept-Language"] = []string{text}
		}
	}
	fields.DropCookies(h, a.drops)
}

// capabilities returns what backends are told that is made of their answers: by the
// cache and by the stage above it. Nobody else is told of: what is stored must not
// depend on what one client, or a proxy before it, says that it can make of a page.
func (c *Cache) capabilities(ctx context.Context) string {
	if rec, ok := transit.Lookup(ctx); ok && rec.Composes != "" {
		return c.capability + ", " + rec.Composes
	}
	return c.capability
}

// told returns a request that passes as whoever is below gets it: with what the stage
// above makes of answers.
func told(r *http.Request) *http.Request {
	rec, ok := transit.Lookup(r.Context())
	if !ok || rec.Composes == "" {
		return r
	}
	out := new(http.Request)
	*out = *r
	out.Header = make(http.Header, len(r.Header)+1)
	maps.Copy(out.Header, r.Header)
	out.Header["Surrogate-Capability"] = []string{rec.Composes}
	return out
}

// drops reports whether a cookie is taken off a request that is looked up.
func (a *ask) drops(name string) bool {
	if a.site.owned(name) {
		return false
	}
	if a.plan.Cookies != nil {
		return !slices.Contains(a.plan.Cookies, name)
	}
	return fields.Names(a.site.cache.opts.IgnoreCookies).Match(name)
}

// askWhetherChanged has r validate e.
func askWhetherChanged(r *http.Request, e *memory.Entry) {
	if tag := e.Field("Etag"); tag != "" {
		r.Header["If-None-Match"] = []string{tag}
	}
	if modified := e.Field("Last-Modified"); modified != "" {
		r.Header["If-Modified-Since"] = []string{modified}
	}
}

// key identifies the question among those that are being asked.
func (q *question) key() string {
	a := q.ask
	b := append([]byte(nil), a.url...)
	b = append(b, 0)
	if a.https {
		b = append(b, 's')
	}
	b = append(append(b, 0), a.parts...)
	if a.partial {
		b = append(append(b, 0), a.r.Header.Get("Range")...)
	}
	if q.selecting != "" {
		b = a.selecting().Append(append(b, 0), q.selecting)
	}
	return string(b)
}

// A next is what is to be done about a question, given what came of a flight.
type next uint8

const (
	answered   next = iota
	askAnew         // it was another's, and is gone
	askLater        // another's has not come in time: not to wait for it again
	askApart        // it was another's variant: to be told apart from it
	askAlone        // it was for its leader only
	askPlainly      // the conditions were in vain
	askItself       // what stands for its URL does not say so
	noFetch         // the cache is closed
)

// after returns the question that is to be asked after a flight.
func (q question) after(n next, f *flight) question {
	q.rounds++
	switch n {
	case askLater:
		q.late = f
	case askApart:
		q.stale, q.selecting = nil, selectingOf(f.answer.entry)
		q.alone = q.alone || validatesAlways(f.answer.entry)
	case askAlone:
		q.alone = true
	case askPlainly:
		q.plain = true
	case askItself:
		q.ask, q.stale, q.begun, q.selecting, q.plain = q.ask.itself(), nil, nil, "", false
	}
	q.alone = q.alone || q.rounds >= patience
	return q
}

// anonymous makes a what a refresh asks: the whole page, by GET, on nobody's
// behalf. What a visitor would be shown is not what is wanted, and what a
// visitor orders has been obeyed already. selecting are the fields on which what
// is stored varies.
func (a *ask) anonymous(selecting string) {
	r := *a.r
	r.Method = http.MethodGet
	if a.cookie || len(a.strange) > 0 || a.r.Header["Cache-Control"] != nil || a.r.Header["Pragma"] != nil {
		r.Header = a.r.Header.Clone()
		delete(r.Header, "Cache-Control")
		delete(r.Header, "Pragma")
		if a.cookie {
			delete(r.Header, "Cookie")
		}
	}
	a.r, a.cookie, a.noStore, a.cc, a.selector = &r, false, false, nil, nil
	if len(a.strange) > 0 {
		a.plainly(selecting)
	}
}

// plainly takes off a's header, which is its own, the strange fields on which
// what is stored does not vary: a refresh is for all.
func (a *ask) plainly(selecting string) {
	off := except(a.strange, selecting)
	for as := range a.r.Header {
		if slices.Contains(off, textproto.CanonicalMIMEHeaderKey(as)) {
			delete(a.r.Header, as)
		}
	}
	a.strange = slices.DeleteFunc(slices.Clone(a.strange), func(name string) bool { return slices.Contains(off, name) })
}

// selectingOf returns the fields on which what is stored varies.
func selectingOf(e *memory.Entry) string {
	selecting, _ := e.Vary()
	return selecting
}

// validatesAlways reports whether what a fetch brought serves its leader only:
// each of the others has to validate it.
func validatesAlways(e *memory.Entry) bool { return e.Flags&memory.Validate != 0 }
