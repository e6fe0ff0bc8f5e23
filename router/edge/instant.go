package edge

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/foretier/foretier/internal/fields"
	"github.com/foretier/foretier/internal/http1"
	"github.com/foretier/foretier/internal/transit"
	"github.com/foretier/foretier/router/edge/internal/h1"
	"github.com/foretier/foretier/router/edge/internal/memo"
)

// What is answered from a request's head alone has been answered by the chain
// before, and depends on nothing that this request has otherwise: see
// [transit.Lesson]. What follows is about a request's head, not about pages.

// A meaning is what a field may have to do with such an answer.
type meaning uint8

const (
	matters      meaning = iota // or may: all fields that nobody has thought of
	idle                        // nothing: nobody reads it of a request whose answer is stored
	ofConnection                // nothing, if it is keep-alive
	ofCodings                   // it selects one
	ofCookies                   // nothing, if all are ignored
	ofScheme                    // what a trusted proxy says of its client
	ofTag                       // it says that the client has a copy, which may be the answer
	ofDate                      // likewise
)

// meanings are those of the fields that do not keep a request from being
// answered so.
var meanings = func() (t [256]meaning) {
	for m, names := range map[meaning][]string{
		idle: {
			"Host", // it is in the key
			"Accept", "Accept-Charset", "Accept-Language", "Dnt", "Keep-Alive", "Origin", "Priority", "Referer", "Save-Data", "Sec-Ch-Ua",
			"Sec-Ch-Ua-Mobile", "Sec-Ch-Ua-Platform", "Sec-Fetch-Dest", "Sec-Fetch-Mode", "Sec-Fetch-Site", "Sec-Fetch-User", "Sec-Gpc",
			"Sec-Purpose", "Upgrade-Insecure-Requests", "User-Agent", "Via", "X-Requested-With",
			"X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Port", "X-Real-Ip", "X-Request-Id", "Traceparent", "Tracestate", "Baggage", // which the log may show
		},
		ofConnection: {"Connection"},
		ofCodings:    {"Accept-Encoding"},
		ofCookies:    {"Cookie"},
		ofScheme:     {"X-Forwarded-Proto"},
		ofTag:        {"If-None-Match"},
		ofDate:       {"If-Modified-Since"},
	} {
		for _, name := range names {
			t[http1.Known(name)] = m
		}
	}
	t[http1.Known("")] = matters // should a name be none of the common ones
	return t
}()

// keyOf returns on what an answer to a request with this head depends, if that is
// all but for cookies and conditions, whether the request has cookies, and its
// conditions.
func (c *conn) keyOf(head *http1.Head) (key memo.Key, cookies bool, copied transit.Conditions, ok bool) {
	key = memo.Key{HTTPS: c.srv.tls != nil, Host: head.Host, Target: head.Target}
	codings, schemes, dates := 0, 0, 0
	for i := range head.Len() {
		id, _, value := head.Field(i)
		switch meanings[id] {
		case idle:
		case ofConnection:
			if !fields.EqualFold(value, "keep-alive") {
				return key, false, copied, false
			}
		case ofCodings:
			if codings++; codings > 1 {
				return key, false, copied, false
			}
			if key.Coding, ok = fields.CodingClass(value); !ok {
				return key, false, copied, false
			}
		case ofCookies:
			cookies = true
		case ofTag:
			if copied.Tagged {
				return key, false, copied, false
			}
			copied.Tagged, copied.NoneMatch = true, value
		case ofDate:
			if dates++; dates > 1 {
				return key, false, copied, false
			}
			copied.ModifiedSince = value
		case ofScheme:
			secure := isSecure(value)
			if schemes++; schemes > 1 || !c.trusted || !secure && !fields.EqualFold(value, "http") {
				return key, false, copied, false // of a stranger somebody may have to be warned
			}
			key.HTTPS = key.HTTPS || secure
		default:
			return key, false, copied, false
		}
	}
	return key, cookies, copied, true
}

// memoOf returns the memo of what answers a request with this key and these
// conditions, or nil.
func (s *Server) memoOf(key *memo.Key, copied transit.Conditions, now time.Time) *memo.Memo {
	if !copied.Any() {
		return s.memos.Get(key)
	}
	for _, key.Same = range [...]bool{true, false} {
		if m := s.memos.Get(key); m != nil && m.Page.NotModified(copied, now) == key.Same && (!key.Same || tellsOf(m.Tag, copied)) {
			return m
		}
	}
	return nil
}

// tellsOf reports whether a 304 with this ETag is told to whoever has such conditions:
// to those who ask for the very one. Of two that mean the same, weak and strong, a stage
// may tell each client its own.
func tellsOf(tag string, copied transit.Conditions) bool {
	if tag == "" {
		return !copied.Tagged
	}
	asked := [1]string{copied.NoneMatch}
	strong, weak := strings.CutPrefix(tag, "W/")
	return copied.Tagged && fields.HasTag(asked[:], tag) && !(weak && fields.HasTag(asked[:], strong))
}

// instant is what a connection is about to answer.
type instant struct {
	proto    string
	head     *http1.Head
	memo     *memo.Memo
	id       requestID
	now      time.Time
	age, ttl int64
}

const (
	mostWhole  = 32 << 10 // of a body that is sent with the head
	beginning  = 16 << 10 // that is, of one that is larger
	headMargin = 128      // what an answer's head has beside what is remembered
)

// Known implements [h1.Quick].
func (c *conn) Known(head *http1.Head) (h1.Known, int) {
	k := c.known(head, "HTTP/1.1", math.MaxInt64)
	if k != h1.Answer {
		return k, 0
	}
	a := &c.instant.memo.Answer
	size := headMargin + a.Size() + len(c.instant.id.given)
	if a.Length > mostWhole {
		return k, size + beginning
	}
	return k, size + int(a.Length)
}

// known says what is known of an answer to head whose body has no more than most bytes.
func (c *conn) known(head *http1.Head, proto string, most int64) h1.Known {
	s := c.srv
	if s.opts.NoInstant || s.names != nil || s.draining() || s.opts.HTTP3 != nil && s.altSvc.Load() == nil {
		return h1.Nothing // or what has been learned says what is not so any more
	}
	if blocked := s.blocked.Load(); blocked != nil && blocked.Contains(c.client(head)) {
		return h1.Nothing
	}
	key, cookies, copied, ok := c.keyOf(head)
	if !ok || len(s.opts.Observers) > 0 && s.observes(c.client(head)) { // whose answers are like nobody's
		return h1.Nothing
	}
	var now time.Time
	if copied.Any() {
		now = time.Now()
	}
	m := s.memoOf(&key, copied, now)
	if m == nil {
		return h1.Unknown
	}
	if now.IsZero() { // of what nobody knows nothing is timed
		now = time.Now()
	}
	if cookies && !ignoresAll(head, m.Page) {
		return h1.Nothing
	}
	a := &m.Answer
	if m.Answer.Length > most {
		return h1.Nothing
	}
	age, ttl, ok := m.Open(now, a.Length > mostWhole)
	if !ok {
		return h1.Unknown
	}
	c.instant = instant{proto, head, m, identify(head.Value(requestName), c.trusted), now, age, ttl}
	return h1.Answer
}

// ignoresAll reports whether no cookie has a bearing on p.
func ignoresAll(head *http1.Head, p transit.Page) bool {
	for i := range head.Len() {
		if id, _, value := head.Field(i); meanings[id] == ofCookies {
			for name := range fields.CookieNames(value) {
				if !p.Ignores(name) {
					return false
				}
			}
		}
	}
	return true
}

// Append implements [h1.Quick].
func (c *conn) Append(b []byte) (out []byte, more bool) {
	in, a := &c.instant, &c.instant.memo.Answer
	s := c.srv
	s.stats.requests.Add(1)
	s.stats.instant.Add(1)
	b = a.Append(b, in.age, in.ttl, in.id.lent(), in.now, h1.AppendDate)
	if a.Length > mostWhole {
		s.stats.inFlight.Add(1)
		return in.memo.Page.AppendBody(b, beginning), true
	}
	return c.AppendBody(b), false
}

// KnownWithin implements [h2.Quick].
func (c *conn) KnownWithin(head *http1.Head, most int) (h1.Known, int) {
	k := c.known(head, "HTTP/2.0", min(int64(most), mostWhole))
	if k != h1.Answer {
		return k, 0
	}
	return k, int(c.instant.memo.Answer.Length)
}

// AppendBlock implements [h2.Quick].
func (c *conn) AppendBlock(b []byte, date func([]byte, time.Time) []byte) []byte {
	in := &c.instant
	c.srv.stats.requests.Add(1)
	c.srv.stats.instant.Add(1)
	return in.memo.Answer.AppendBlock(b, in.age, in.ttl, in.id.lent(), in.now, date)
}

// AppendBody implements [h2.Quick]: it counts what is answered as a whole.
func (c *conn) AppendBody(b []byte) []byte {
	in, a, s := &c.instant, &c.instant.memo.Answer, c.srv
	s.stats.status(a.Status, false)
	s.stats.sent.Add(uint64(a.Length))
	c.logInstant(a.Status, a.Length, nil)
	if a.Status == http.StatusOK {
		b = in.memo.Page.AppendBody(b, int(a.Length))
	}
	c.instant = instant{}
	return b
}

// Rest implements [h1.Quick].
func (c *conn) Rest(to net.Conn, failed error) error {
	in, s := &c.instant, c.srv
	var sink transit.Sink = to
	if failed != nil {
		sink = closedSink{}
	}
	n, err := in.memo.Page.Send(sink, beginning, c.client(in.head))
	s.stats.inFlight.Add(-1)
	status, cause := http.StatusOK, error(nil)
	if err != nil {
		status, cause = transit.StatusGone, shortOf(beginning+n, in.memo.Answer.Length)
	}
	s.stats.status(status, err != nil)
	s.stats.sent.Add(uint64(beginning + n))
	c.logInstant(status, beginning+n, cause)
	c.instant = instant{}
	return err
}

// shortOf says that an answer has ended before its end.
func shortOf(n, length int64) error {
	return fmt.Errorf("edge: the handler wrote %d of the %d bytes that it announced", n, length)
}

// A closedSink takes nothing.
type closedSink struct{}

func (closedSink) Write([]byte) (int, error)        { return 0, errGone }
func (closedSink) SetWriteDeadline(time.Time) error { return errors.ErrUnsupported }

// client returns who asks by head.
func (c *conn) client(head *http1.Head) netip.Addr {
	if !c.trusted {
		return c.peer
	}
	var few [4]string // as many lines as there are, as a rule
	lines := few[:0]
	for i := range head.Len() {
		if id, _, value := head.Field(i); id == forwardedFor {
			lines = append(lines, value)
		}
	}
	return client(c.peer, lines, c.srv.opts.Trusted)
}

// What the log line has of a head.
var (
	forwardedFor = http1.Known("X-Forwarded-For")
	requestName  = http1.Known("X-Request-Id")
	referer      = http1.Known("Referer")
	userAgent    = http1.Known("User-Agent")
)

// logInstant writes the line of what is being answered.
func (c *conn) logInstant(status int, bytes int64, cause error) {
	s, in := c.srv, &c.instant
	traces := s.opts.Tracing.Spans != nil
	if s.opts.NoAccessLog && s.lines == nil && !traces {
		return
	}
	line := access{
		id: in.id, began: in.now, took: time.Since(in.now), client: c.client(in.head), scheme: "http",
		method: http.MethodGet, host: in.head.Host, target: in.head.Target, proto: in.proto,
		status: status, bytes: bytes, notes: in.memo.Notes,
		referer: in.head.Value(referer), agent: in.head.Value(userAgent),
		cause: cause, aborted: cause != nil, gone: cause != nil, hit: true, lent: true,
	}
	if cause == nil {
		line.memo = in.memo
	}
	if in.memo.HTTPS {
		line.scheme = "https"
	}
	if traces || s.opts.Tracing.Begin {
		c.traceInstant(&line)
	}
	s.log(s.base, &line)
}

// learn remembers what was answered, if the stages on its way say that its like
// would be again.
func (s *Server) learn(ex *exchange, r *http.Request, rec *transit.Record) {
	page, stages := rec.Lesson.Learned()
	if page == nil || s.opts.HTTP3 != nil && ex.altSvc == nil {
		return
	}
	answer, ok := memo.Compose(ex.status, ex.w.Header())
	if !ok || ex.status == http.StatusOK && answer.Length != page.Len() {
		return
	}
	class, ok := uint8(0), true
	if lines := r.Header["Accept-Encoding"]; len(lines) > 0 {
		class, ok = fields.CodingClass(lines[0])
	}
	if !ok {
		return
	}
	tags := ex.w.Header()["Etag"]
	if len(tags) > 1 {
		return
	}
	m := &memo.Memo{
		Key:    memo.Key{HTTPS: rec.Scheme == "https", Coding: class, Same: ex.status == http.StatusNotModified, Host: strings.Clone(r.Host), Target: strings.Clone(r.RequestURI)},
		Answer: answer, Page: page, Stages: append([]transit.Stage(nil), stages...),
	}
	if len(tags) == 1 {
		m.Tag = tags[0]
	}
	for part, value := range rec.Notes() {
		if _, own := value.(annotation); own {
			return
		}
		m.Notes = append(m.Notes, memo.Note{Part: part, Value: slog.AnyValue(value).Resolve()})
	}
	s.memos.Learn(m)
}
