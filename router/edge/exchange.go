package edge

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/foretier/foretier/internal/fields"
	"github.com/foretier/foretier/internal/transit"
)

var errGone = errors.New("edge: the client is gone")

// ServeHTTP implements [http.Handler]: a request on its way down, and its log
// line on the way back. Run calls it; it may also be served by somebody else's
// http.Server, which then must bound slow clients itself.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	began := time.Now()
	s.stats.requests.Add(1)
	s.stats.inFlight.Add(1)
	ctx, rec := transit.With(r.Context())
	ex := &exchange{ResponseWriter: w, rec: rec}
	if c, ok := ctx.Value(connKey{}).(*conn); ok {
		c.answering.Store(true)
		if !c.secure { // the records that TLS writes on its own must not be held back
			ex.conn = c
		}
	}
	in, no := s.receive(ex, r.WithContext(ctx), rec)

	defer func() {
		s.stats.inFlight.Add(-1)
		v := recover()
		if v != nil && v != http.ErrAbortHandler {
			s.panicked(ex, in, rec, v)
			v = nil
			if ex.status != http.StatusInternalServerError {
				v = http.ErrAbortHandler // what is out cannot be taken back
			}
		}
		ex.end(v != nil)
		s.finish(ex, in, rec, began, v != nil)
		if v != nil {
			panic(v)
		}
	}()
	if s.draining() && r.ProtoMajor == 1 && in.Header["Upgrade"] == nil {
		w.Header().Set("Connection", "close")
	}
	if no != nil {
		if no.status == http.StatusMethodNotAllowed {
			w.Header().Set("Allow", "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS") // RFC 9110, section 15.5.6
		}
		transit.Fail(ex, in, no.status, no.cause)
		return
	}
	s.handler.ServeHTTP(ex, in)
}

// receive fills the record and cleans the request, which is the server's own
// and was made for this call.
func (s *Server) receive(ex *exchange, r *http.Request, rec *transit.Record) (*http.Request, *refusal) {
	peer := transit.Peer(r)
	trusted := within(s.opts.Trusted, peer)
	if !trusted {
		s.warnAboutScheme(r, peer)
	}
	rec.Client = client(peer, r.Header["X-Forwarded-For"], s.opts.Trusted)
	rec.Scheme = scheme(r, trusted)
	rec.ID = requestID(r, trusted)
	rec.Vetted, rec.Logged = true, true
	rec.Page = s.page
	if rec.Scheme == "https" {
		ex.hsts = s.hsts
	}
	ex.trace = trusted && r.Header["X-Route-Trace"] != nil
	delete(r.Header, "X-Route-Trace")

	no := vet(r, &s.opts.Limits)
	fields.Clean(r.Header, trusted)
	r.Header["X-Request-Id"] = []string{rec.ID}
	if r.URL.Host != "" { // absolute form; Host has the same
		u := *r.URL
		u.Scheme, u.Host, u.User = "", "", nil
		r.URL = &u
	}
	if limit := s.opts.Limits.BodyStall; limit > 0 && r.Body != nil && r.Body != http.NoBody {
		r.Body = &stallReader{ReadCloser: r.Body, rc: http.NewResponseController(ex), rec: rec, limit: limit, h2: r.ProtoMajor == 2}
	}
	return r, no
}

// warnAboutScheme says once that a proxy which nobody trusts terminates TLS: the
// application will redirect to https for ever.
func (s *Server) warnAboutScheme(r *http.Request, peer netip.Addr) {
	if !peer.IsPrivate() && !peer.IsLoopback() || r.TLS != nil || s.warned.Load() ||
		!fields.HasToken(r.Header["X-Forwarded-Proto"], "https") || s.warned.Swap(true) {
		return
	}
	s.opts.Logger.Warn("a private peer that is not in Trusted says that its client spoke https; "+
		"backends will see http and may redirect for ever", "peer", peer.String())
}

// requestID passes on what a trusted peer named the request, or makes a name of
// 64 random bits.
func requestID(r *http.Request, trusted bool) string {
	if trusted {
		if id := r.Header.Get("X-Request-Id"); id != "" && len(id) <= 128 && only(id, isAlnum, "-_.:=+/@") {
			return id
		}
	}
	const digits = "0123456789abcdef"
	var b [16]byte
	n := rand.Uint64()
	for i := range b {
		b[i] = digits[n&15]
		n >>= 4
	}
	return string(b[:])
}

// writePage answers with the operator's page for status, if there is one.
func (s *Server) writePage(w http.ResponseWriter, r *http.Request, status int) bool {
	page, ok := s.opts.HostPages[hostname(r.Host)][status]
	if !ok {
		page, ok = s.opts.Pages[status]
	}
	if !ok {
		return false
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

// panicked answers 500 for a handler's panic, if nothing was answered yet.
func (s *Server) panicked(ex *exchange, r *http.Request, rec *transit.Record, v any) {
	rec.Fail(fmt.Errorf("edge: panic: %v", v))
	s.opts.Logger.LogAttrs(r.Context(), levelError, "panic", attr("id", rec.ID), attr("panic", fmt.Sprint(v)), attr("stack", string(debug.Stack())))
	if ex.status == 0 {
		transit.Fail(ex, r, http.StatusInternalServerError, nil)
	}
}

// finish settles the status and logs.
func (s *Server) finish(ex *exchange, r *http.Request, rec *transit.Record, began time.Time, aborted bool) {
	status := ex.status
	if status == 0 {
		status = http.StatusOK
	}
	if context.Cause(r.Context()) != nil && (ex.status == 0 || aborted) {
		status = transit.StatusGone
		rec.Fail(errGone)
	}
	s.stats.status(status)
	s.log(ex, r, rec, status, time.Since(began), aborted)
}

// hostname returns a request's host in lower case, without port and trailing
// dot.
func hostname(host string) string {
	if !strings.HasPrefix(host, "[") {
		host, _, _ = strings.Cut(host, ":")
	}
	return strings.ToLower(strings.TrimSuffix(host, "."))
}

// An exchange is the ResponseWriter of one request; it remembers what went
// through it, and adds to the final header what is the edge's to add.
type exchange struct {
	http.ResponseWriter
	rec    *transit.Record
	conn   *conn  // on which a response may be gathered, or nil
	gather bool   // the response is being gathered
	hsts   string // value of Strict-Transport-Security, or ""
	trace  bool   // a trusted peer wants to see the way of the request
	status int    // of the final header; 0 before
	bytes  int64  // of the body
}

// Unwrap serves [http.ResponseController].
func (ex *exchange) Unwrap() http.ResponseWriter { return ex.ResponseWriter }

func (ex *exchange) WriteHeader(status int) {
	if status >= 200 || status == http.StatusSwitchingProtocols {
		ex.final(status)
	}
	ex.ResponseWriter.WriteHeader(status)
}

// final notes the status and completes the header, once.
func (ex *exchange) final(status int) {
	if ex.status != 0 {
		return
	}
	ex.status = status
	h := ex.Header()
	if ex.hsts != "" && h["Strict-Transport-Security"] == nil {
		h["Strict-Transport-Security"] = []string{ex.hsts}
	}
	if ex.trace {
		h["X-Route-Trace"] = []string{traceOf(ex.rec)}
	}
	if ex.conn != nil && gatherable(h) {
		ex.gather = true
		ex.conn.gather()
	}
}

// end sends a response that is gathered as one; of one that was cut off,
// nothing. Like the standard server's, it goes out when its handler has
// returned: what the handler still does behind the last byte, such as storing
// what it has sent, is done when the client has it.
func (ex *exchange) end(aborted bool) {
	switch {
	case !ex.gather:
	case aborted:
		ex.conn.discard()
	default:
		_ = ex.FlushError() // which has closed the connection
	}
}

func (ex *exchange) Write(p []byte) (int, error) {
	ex.final(http.StatusOK)
	n, err := ex.ResponseWriter.Write(p)
	ex.bytes += int64(n)
	return n, err
}

// ReadFrom keeps the standard server's way to sendfile.
func (ex *exchange) ReadFrom(src io.Reader) (int64, error) {
	ex.final(http.StatusOK)
	n, err := io.Copy(ex.ResponseWriter, src)
	ex.bytes += n
	return n, err
}

// FlushError serves [http.ResponseController].
func (ex *exchange) FlushError() error {
	ex.final(http.StatusOK)
	err := http.NewResponseController(ex.ResponseWriter).Flush()
	if !ex.gather {
		return err
	}
	ex.gather = false
	return errors.Join(err, ex.conn.deliver())
}

// Flush implements [http.Flusher].
func (ex *exchange) Flush() { _ = ex.FlushError() } // a Flusher cannot report

// traceOf is what the parts noted so far, on one line.
func traceOf(rec *transit.Record) string {
	var b strings.Builder
	for part, value := range rec.Notes() {
		if b.Len() > 0 {
			b.WriteString("; ")
		}
		b.WriteString(part + "=" + value.LogValue().String())
	}
	return strings.Map(func(c rune) rune {
		if c < ' ' || c > '~' {
			return '?'
		}
		return c
	}, b.String())
}
