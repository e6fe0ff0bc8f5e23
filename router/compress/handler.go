package compress

import (
	"errors"
	"net/http"

	"github.com/klauspost/compress/gzhttp"

	"github.com/foretier/foretier/health"
	"github.com/foretier/foretier/internal/fields"
	"github.com/foretier/foretier/internal/given"
	"github.com/foretier/foretier/internal/transit"
)

var errAtOnce = errors.New("compress: AtOnce is negative")

// handler is one handler whose answers are compressed.
type handler struct {
	c      *Compressor
	next   http.Handler
	owners []health.CookieOwner
}

// maxAccept is how long an Accept-Encoding is that is looked at, in bytes.
const maxAccept = 256

// ServeHTTP implements [http.Handler].
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	rec, ok := transit.Lookup(r.Context())
	if ok && rec.Loan.Takes(h) {
		rec.Loan.Hand(h.next)
	}
	taught := ok && rec.Lesson.Takes(h)
	if taught {
		rec.Lesson.Hand(h.next)
	}
	if unseen(r) {
		h.next.ServeHTTP(w, r)
		return
	}
	a := &answer{below: w, h: h, r: r, length: -1}
	defer a.leave()
	if accepts(r) {
		h.code(a, r)
	} else {
		h.serve(a, r)
	}
	if taught && a.left {
		rec.Lesson.Unlearn() // another of its like may not be
	}
}

// unseen reports whether an answer to r goes through without a look at it.
func unseen(r *http.Request) bool {
	return r.Header["Upgrade"] != nil || r.Method == http.MethodConnect
}

// accepts reports whether r may accept a coding, and wants the whole, and not as it is
// (RFC 9111, section 5.2.1.6).
func accepts(r *http.Request) bool {
	lines := r.Header["Accept-Encoding"]
	return len(lines) == 1 && len(lines[0]) <= maxAccept && r.Header["Range"] == nil &&
		!fields.HasToken(r.Header["Cache-Control"], "no-transform")
}

// code has next write to a through an encoder, which chooses the coding.
func (h *handler) code(a *answer, r *http.Request) {
	a.gate = &gate{ResponseWriter: a.below, head: r.Method == http.MethodHead}
	asked := r
	if a.gate.head { // of which it does not say what a GET would be
		get := *r
		get.Method, asked = http.MethodGet, &get
	}
	vary, varied := a.below.Header()["Vary"]
	h.c.wrap(http.HandlerFunc(func(through http.ResponseWriter, _ *http.Request) {
		if a.below.Header()["Vary"] = vary; !varied { // it says so of all
			delete(a.below.Header(), "Vary")
		}
		if z, ok := through.(*gzhttp.GzipResponseWriter); ok {
			a.encoder = z
		}
		h.serve(a, r)
	})).ServeHTTP(a.gate, asked)
}

// serve has next write to a, and ends that.
func (h *handler) serve(a *answer, r *http.Request) {
	whole := false
	defer func() {
		if !whole {
			a.breakOff()
		}
	}()
	h.next.ServeHTTP(a, r)
	if err := a.end(); err != nil {
		transit.From(r.Context()).Fail(err)
		panic(http.ErrAbortHandler)
	}
	whole = true
}

// personal reports whether an answer with this header is for the one who asks alone, as
// far as anybody says.
func (h *handler) personal(r *http.Request, answer http.Header) bool {
	if answer["Set-Cookie"] != nil {
		return true
	}
	if r.Header["Authorization"] == nil && !h.hasSession(r) {
		return false
	}
	if answer["Age"] != nil { // of what is stored for all
		return false
	}
	return !fields.HasToken(answer["Cache-Control"], "public") && !hasDirective(answer["Cache-Control"], "s-maxage")
}

// hasSession reports whether r has a cookie that may be a session's.
func (h *handler) hasSession(r *http.Request) bool {
	for name := range fields.Cookies(r.Header) {
		if !fields.Names(h.c.opts.IgnoreCookies).Match(name) && !h.owns(name) {
			return true
		}
	}
	return false
}

func (h *handler) owns(cookie string) bool {
	for _, o := range h.owners {
		if !given.Nil(o) && o.OwnsCookie(cookie) {
			return true
		}
	}
	return false
}

// hasDirective reports whether Cache-Control has a directive with an argument.
func hasDirective(lines []string, name string) bool {
	for member := range fields.Members(lines) {
		if len(member) > len(name) && member[len(name)] == '=' && fields.EqualFold(member[:len(name)], name) {
			return true
		}
	}
	return false
}

// Healthy reports whether what lies below could serve r now.
func (h *handler) Healthy(r *http.Request) bool { return health.Healthy(h.next, r) }

// Wraps returns what lies below.
func (h *handler) Wraps() []http.Handler { return []http.Handler{h.next} }

// Explain implements [health.Explainer].
func (h *handler) Explain(r *http.Request) health.Decision {
	d := health.Decision{Part: "compressor", Verdict: "text is compressed", Next: []health.Decision{health.Explain(h.next, r)}}
	switch {
	case unseen(r):
		d.Verdict, d.Why = "pass", "an upgrade or a tunnel"
	case !accepts(r):
		d.Verdict, d.Why = "pass", "the client accepts no coding, wants a part, or wants it as it is"
	case !h.c.opts.Private && (r.Header["Authorization"] != nil || h.hasSession(r)):
		d.Verdict, d.Why = "pass", "the client has a session: only what is everybody's is compressed"
	}
	return d
}
