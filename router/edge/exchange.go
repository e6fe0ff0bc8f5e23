package edge

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"runtime/debug"
	"slices"
	"strconv"
	"sync"
	"time"
	"unsafe"

	"github.com/foretier/foretier/internal/fields"
	"github.com/foretier/foretier/internal/target"
	"github.com/foretier/foretier/internal/transit"
)

var (
	errGone = errors.New("edge: the client is gone")
	errOver = errors.New("edge: the handler has returned")
)

// ServeHTTP implements [http.Handler]: a request on its way down, and its log
// line on the way back. Run calls it; it may also be mounted in somebody else's
// http.Server: see the package's documentation.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	began := time.Now()
	s.stats.requests.Add(1)
	s.stats.inFlight.Add(1)
	ctx, rec := transit.With(r.Context())
	ex := exchanges.Get().(*exchange)
	ex.w, ex.rec, ex.head, ex.old = w, rec, r.Method == http.MethodHead, !r.ProtoAtLeast(1, 1)
	in := r // which the tier's own server has made for this call, with the record
	if ex.own, _ = w.(own); ex.own != nil {
		ex.rc = ex.own
		ex.connects = r.ProtoMajor == 2 && r.Header["Upgrade"] != nil // which no other request has there
	} else {
		ex.rc = foreign{http.NewResponseController(w)}
		in = r.WithContext(ctx)
	}
	if s.listener == nil {
		s.mounted.add(1)
		ex.unmount = sync.OnceFunc(func() { s.mounted.add(-1) })
		defer ex.unmount()
	}
	in, no := s.receive(ex, in, rec, began)

	defer func() {
		s.stats.inFlight.Add(-1)
		v := recover()
		gone := ex.left || ex.gone(r) && !ex.interrupted.Load()
		aborted := s.settle(ex, in, rec, v, gone)
		if ex.left {
			aborted = true // else the standard server makes an empty 200 of it
		}
		ex.retire(aborted, gone)
		ex.switched()
		s.finish(ex, in, rec, began, aborted, gone)
		if !aborted && !gone {
			s.learn(ex, in, rec)
		}
		if aborted {
			panic(http.ErrAbortHandler)
		}
	}()
	if s.draining() && r.ProtoMajor == 1 && in.Header["Upgrade"] == nil {
		if ex.own != nil {
			ex.own.End()
		} else {
			w.Header().Set("Connection", "close")
		}
	}
	if no != nil {
		if no.cause == errBlocked {
			s.stats.blocked.Add(1)
		}
		if no.status == http.StatusMethodNotAllowed {
			w.Header().Set("Allow", "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS") // RFC 9110, section 15.5.6
		}
		transit.Fail(ex, in, no.status, no.cause)
		return
	}
	if rec.Lesson.Takes(s) {
		rec.Lesson.Hand(s.handler)
	}
	if rec.Loan.Takes(s) && (ex.own != nil || ex.span == nil) { // else its hook is shown what another edge lends
		rec.Loan.Add(ex)
		rec.Loan.Hand(s.handler)
	}
	s.handler.ServeHTTP(ex, in)
}

// settle judges what the handler has left: an answer, or v, what it panicked
// with. What is not whole becomes an error of the tier's own, if nothing of it
// is out; otherwise settle reports that it is to be cut off.
func (s *Server) settle(ex *exchange, r *http.Request, rec *transit.Record, v any, gone bool) (aborted bool) {
	status := http.StatusBadGateway
	switch {
	case v == nil && !ex.short():
		return false
	case v == nil:
		rec.Fail(shortOf(ex.bytes, ex.length))
	case v != http.ErrAbortHandler:
		s.panicked(r, rec, v)
		status = http.StatusInternalServerError
	}
	if gone || !ex.retract() {
		return true
	}
	transit.Fail(ex, r, status, nil)
	return false
}

// receive fills the record and cleans the request, which is the server's own
// and was made for this call.
func (s *Server) receive(ex *exchange, r *http.Request, rec *transit.Record, began time.Time) (*http.Request, *refusal) {
	peer, trusted := s.peer(ex, r)
	if !trusted {
		s.warnAboutScheme(r, peer)
	}
	asked := r.Header["X-Route-Trace"] != nil
	id := identify(r.Header.Get("X-Request-Id"), trusted)
	rec.ID = id.String()
	no := s.admit(r, rec, peer, trusted, ex.own != nil)
	if s.observes(rec.Client) {
		ex.shown = &shown{began, asked}
	}
	ex.id[0] = rec.ID
	r.Header["X-Request-Id"] = ex.id[:]
	rec.Page, rec.Front = s.page, s.handler
	if rec.Scheme == "https" {
		ex.hsts = s.hsts
	}
	ex.altSvc = s.altSvc.Load()
	if s.opts.Tracing.traces() {
		r = s.trace(ex, r, rec, began, trusted)
	}
	if r.Body != nil && r.Body != http.NoBody {
		src := r.Body
		switch limit := s.opts.Limits.BodyStall; {
		case ex.own != nil:
			src = &bodyReader{src, rec}
		case limit > 0:
			ex.stall = &stallReader{ReadCloser: src, rc: ex.rc, rec: rec, limit: limit, h2: r.ProtoMajor == 2}
			src = ex.stall
		}
		if ex.duplex = ex.own == nil && r.ProtoMajor == 1; ex.duplex {
			// Else the standard server reads a body that its handler has not
			// read before it answers, for as long as the client takes.
			_ = ex.rc.EnableFullDuplex() // one that cannot is no server for HTTP/1
		}
		ex.body = transit.NewBody(src)
		r.Body = ex.body
	}
	return r, no
}

// peer returns who is at the other end of r's connection, and whether it is a
// trusted proxy.
func (s *Server) peer(ex *exchange, r *http.Request) (peer netip.Addr, trusted bool) {
	if ex.own != nil {
		if c, ok := ex.own.Owner().(*conn); ok {
			return c.peer, c.trusted
		}
	}
	peer = transit.Peer(r)
	return peer, within(s.opts.Trusted, peer)
}

// admit fills in r's record who asks, and makes r, which is the caller's own, what
// goes on; or it says why nothing does. What the tier's own server has judged is
// not judged again.
func (s *Server) admit(r *http.Request, rec *transit.Record, peer netip.Addr, trusted, judged bool) (no *refusal) {
	rec.Client = client(peer, r.Header["X-Forwarded-For"], s.opts.Trusted)
	rec.Scheme = scheme(r, trusted)
	rec.Vetted = true
	delete(r.Header, "X-Route-Trace")
	if no = vetMethod(r); no == nil && !judged {
		no = vet(r, &s.opts.Limits)
	}
	if no == nil {
		no = s.misdirected(r)
	}
	if no == nil {
		no = s.block(rec.Client)
	}
	if no == nil { // else nobody gets it
		fields.Clean(r.Header, trusted)
	}
	if trusted && len(r.Header["X-Forwarded-For"]) > 0 {
		r.Header["X-Forwarded-For"] = shorten(r.Header["X-Forwarded-For"])
	}
	if r.URL.Host != "" { // absolute form; Host has the same
		u := *r.URL
		u.Scheme, u.Host, u.User = "", "", nil
		r.URL = &u
	}
	r.URL = target.Preserve(r.URL)
	return no
}

// warnAboutScheme says once that a proxy which nobody trusts terminates TLS: the
// application will redirect to https for ever.
func (s *Server) warnAboutScheme(r *http.Request, peer netip.Addr) {
	if !peer.IsPrivate() && !peer.IsLoopback() || r.TLS != nil || s.warned.Load() ||
		!slices.ContainsFunc(fields.List(r.Header["X-Forwarded-Proto"]), isSecure) || s.warned.Swap(true) {
		return
	}
	s.opts.Logger.Warn("a private peer that is not in Trusted says that its client spoke https; "+
		"backends will see http and may redirect for ever", "peer", peer.String())
}

// A requestID is what a trusted peer named the request, or a name of 64 random bits.
type requestID struct {
	given string
	made  [16]byte // if given is empty
}

// idOnPage is where a page of the operator's tells the request's name, which needs no
// escaping in HTML.
const idOnPage = "{request-id}"

// identify returns the name of a request that came with one, or with "".
func identify(given string, trusted bool) (id requestID) {
	if trusted && given != "" && len(given) <= 128 && only(given, isAlnum, "-_.:=+/@") {
		id.given = given
		return id
	}
	const digits = "0123456789abcdef"
	n := rand.Uint64()
	for i := range id.made {
		id.made[i] = digits[n&15]
		n >>= 4
	}
	return id
}

// lent returns the name as long as id stays as it is, and takes no memory.
func (id *requestID) lent() string {
	if id.given != "" {
		return id.given
	}
	return unsafe.String(&id.made[0], len(id.made))
}

func (id *requestID) String() string {
	if id.given != "" {
		return id.given
	}
	return string(id.made[:])
}

// writePage answers with the operator's page for status, if there is one.
func (s *Server) writePage(w http.ResponseWriter, r *http.Request, status int) bool {
	page, ok := s.opts.HostPages[fields.Hostname(r.Host)][status]
	if !ok {
		page, ok = s.opts.Pages[status]
	}
	if !ok {
		return false
	}
	if rec := transit.From(r.Context()); rec.ID != "" {
		page = bytes.ReplaceAll(page, []byte(idOnPage), []byte(rec.ID))
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Length", strconv.Itoa(len(page)))
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(page) // a client that is gone misses nothing
	}
	return true
}

// panicked notes and logs a handler's panic.
func (s *Server) panicked(r *http.Request, rec *transit.Record, v any) {
	rec.Fail(fmt.Errorf("edge: panic: %v", v))
	s.opts.Logger.LogAttrs(r.Context(), levelError, "panic", attr("id", rec.ID), attr("panic", fmt.Sprint(v)), attr("stack", string(debug.Stack())))
}

// finish settles the status and logs.
func (s *Server) finish(ex *exchange, r *http.Request, rec *transit.Record, began time.Time, aborted, gone bool) {
	status := ex.status
	if status == 0 {
		status = http.StatusOK
	}
	gone = ex.left || gone && (ex.status == 0 || aborted)
	if gone {
		status = transit.StatusGone
		rec.Fail(errGone)
	}
	s.stats.status(status, gone)
	s.stats.sent.Add(uint64(max(ex.bytes, 0)))
	if s.opts.NoAccessLog && s.lines == nil && rec.Cause() == nil && ex.span == nil {
		return // which looks at no clock
	}
	line := accessOf(ex, r, rec, status)
	line.began, line.took, line.aborted, line.gone = began, time.Since(began), aborted, gone
	s.log(r.Context(), &line)
}
