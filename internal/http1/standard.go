package http1

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/foretier/foretier/internal/fields"
	"github.com/foretier/foretier/internal/target"
)

// A Room is the memory of a request, and of what it points to but its text, and of its
// answer's header. Its zero value has none.
type Room struct {
	// The request itself is apart: who keeps a URL or a field of it must not keep its
	// context.
	request *http.Request
	parts   *parts
	header  http.Header
	answer  http.Header
}

type parts struct {
	url    url.URL
	coding [1]string
	values [16]string // a browser sends a dozen
}

// mostFields is how many fields a header may have had that is used for another request:
// it never shrinks.
const mostFields = 64

// Reset forgets the request, which nobody has in hand any more.
func (m *Room) Reset() {
	*m.request, *m.parts = http.Request{}, parts{}
	m.header, m.answer = emptied(m.header), emptied(m.answer)
}

func emptied(h http.Header) http.Header {
	if len(h) > mostFields {
		return nil
	}
	clear(h)
	return h
}

// Answer returns an empty header for the request's answer.
func (m *Room) Answer() http.Header {
	if m.answer == nil {
		m.answer = make(http.Header)
	}
	return m.answer
}

// Request returns what [http.ReadRequest] makes of the head, with ctx as its
// context: a copy, which nobody else touches again. Its body is the one given,
// where the head announces one, and has to read it by [Head.Length]. The error is
// a [*Refusal].
func (h *Head) Request(ctx context.Context, body io.ReadCloser) (*http.Request, error) {
	return h.RequestIn(new(Room), ctx, body)
}

// RequestIn is Request in the memory of m, as far as it has any; what it has not, it has then.
func (h *Head) RequestIn(m *Room, ctx context.Context, body io.ReadCloser) (*http.Request, error) {
	if m.request == nil {
		m.request, m.parts = new(http.Request), new(parts)
	}
	p, text := m.parts, h.copy()
	to := h.target.in(text, h.begin)
	if err := p.setURL(to, h); err != nil {
		return nil, err
	}
	r := http.Request{
		Method: h.method.in(text, h.begin), URL: &p.url, RequestURI: to,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: h.Minor,
		Host: p.url.Host, ContentLength: h.Length, Close: h.Close, Body: http.NoBody,
	}
	if h.Minor == 0 {
		r.Proto = "HTTP/1.0"
	}
	if r.Host == "" && h.host >= 0 {
		r.Host = h.fields[h.host].value.in(text, h.begin)
	}
	if h.Length != 0 && body != nil {
		r.Body = body
	}
	if m.header == nil {
		m.header = make(http.Header, len(h.fields)-h.skipped())
	}
	r.Header = h.headerIn(m.header, text, p.values[:])
	if h.chunked {
		p.coding[0] = "chunked"
		r.TransferEncoding = p.coding[:]
		r.Trailer = Announced(r.Header)
	}
	*m.request = *r.WithContext(ctx) // which stay on the stack
	return m.request, nil
}

// setURL reads the target as [url.ParseRequestURI] does, which is asked where
// there is more to it than a path that spells itself.
func (p *parts) setURL(to string, h *Head) error {
	if to[0] == '/' {
		path, query, mark := strings.Cut(to, "?")
		if target.Plain(path) {
			p.url = url.URL{Path: path, RawQuery: query, ForceQuery: mark && query == ""}
			return nil
		}
	}
	authority := h.Method == http.MethodConnect && to[0] != '/'
	if authority {
		to = "http://" + to
	}
	u, err := url.ParseRequestURI(to)
	if err != nil {
		return refuse(http.StatusBadRequest, "%s", err)
	}
	if p.url = *u; authority {
		p.url.Scheme = ""
	}
	return nil
}

// copy returns the head from its first line on as a string of its own, in which
// the names of fields are canonical.
func (h *Head) copy() string {
	if h.kept {
		return str(h.b[h.begin:])
	}
	b := append([]byte(nil), h.b[h.begin:]...)
	for i := range h.fields {
		if f := &h.fields[i]; f.id == other {
			canonical(b[int(f.name.from)-h.begin : int(f.name.to)-h.begin])
		}
	}
	return str(b)
}

// keep makes the head of a response one of a copy of what it was read from, which is
// never written to: its strings are for good.
func (h *Head) keep() {
	text := h.copy()
	h.b, h.kept = bytesOf(text), true
	if h.Upgrade != "" {
		h.Upgrade = h.fields[h.upgrade].value.of(h.b)
	}
}

// in is s in a copy of what begins at begin.
func (s span) in(text string, begin int) string { return text[int(s.from)-begin : int(s.to)-begin] }

// header returns the fields as handlers get them: without Host and
// Transfer-Encoding, which say what the message is.
func (h *Head) header(text string) http.Header {
	return h.headerIn(make(http.Header, len(h.fields)-h.skipped()), text, nil)
}

// headerIn is header in an empty map. Values are cut from room, as far as that goes, each
// with no room behind it.
func (h *Head) headerIn(header http.Header, text string, room []string) http.Header {
	if len(h.fields) > len(room) {
		room = make([]string, len(h.fields))
	}
	var seen [4]uint64 // of the common names, which need not be looked up then
	for i := range h.fields {
		f := &h.fields[i]
		if f.id == nameHost && h.Status == 0 || f.id == nameTransferEncoding {
			continue
		}
		name := names[f.id]
		if f.id == other {
			name = f.name.in(text, h.begin)
		}
		value := f.value.in(text, h.begin)
		word, bit := f.id/64, uint64(1)<<(f.id%64)
		if f.id == other || seen[word]&bit != 0 {
			if have := header[name]; have != nil {
				header[name] = append(have, value)
				continue
			}
		}
		seen[word] |= bit
		room[0] = value
		header[name], room = room[:1:1], room[1:]
	}
	// As a server of HTTP/1.0 is asked not to answer from a cache (RFC 9111,
	// section 5.4).
	if pragma := header["Pragma"]; len(pragma) > 0 && pragma[0] == "no-cache" && header["Cache-Control"] == nil {
		header["Cache-Control"] = []string{"no-cache"}
	}
	return header
}

// skipped is how many fields [Head.header] leaves out, as nearly all requests have
// Host.
func (h *Head) skipped() int {
	if h.host >= 0 {
		return 1
	}
	return 0
}

// Announced takes Trailer out of a header, and returns the names that it lists,
// without values; nil for none.
func Announced(header http.Header) http.Header {
	lines := header["Trailer"]
	if lines == nil {
		return nil
	}
	delete(header, "Trailer")
	var trailer http.Header
	for name := range fields.Members(lines) {
		if trailer == nil {
			trailer = make(http.Header)
		}
		trailer[http.CanonicalHeaderKey(name)] = nil
	}
	return trailer
}

// ContentLength is how long the answer is, or would be to another method than HEAD;
// -1: nobody says.
func (h *Head) ContentLength() int64 {
	switch {
	case h.hasLength && (h.toHEAD || h.Length >= 0 && !h.bodiless()):
		return h.length
	case h.bodiless() && !h.toHEAD:
		return 0
	}
	return -1
}

// Unproven reports whether only the end of the connection ends the answer's body, or
// would to another method than HEAD: half of it cannot be told from the whole.
func (h *Head) Unproven() bool { return !h.chunked && h.ContentLength() < 0 }

// Response returns what [http.ReadResponse] makes of the head, as the answer to r,
// with the body given where there is one; but for what Connection lists beside close, of
// which that leaves no trace.
func (h *Head) Response(r *http.Request, body io.ReadCloser) *http.Response {
	text := h.copy()
	res := &http.Response{
		Status: h.reason.in(text, h.begin), StatusCode: h.Status,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: h.Minor,
		Header: h.header(text), ContentLength: h.ContentLength(), Close: h.Close, Body: http.NoBody, Request: r,
	}
	if h.Minor != 1 {
		res.Proto = text[:len("HTTP/1.x")]
	}
	if h.Length != 0 && body != nil {
		res.Body = body
	}
	if h.saysClose && h.Minor > 0 {
		delete(res.Header, "Connection")
	}
	if length := res.Header["Content-Length"]; len(length) > 1 {
		res.Header["Content-Length"] = length[:1:1]
	}
	if h.chunked {
		res.TransferEncoding = []string{"chunked"}
		res.Trailer = Announced(res.Header)
		if h.Length == chunked {
			delete(res.Header, "Content-Length")
		}
	}
	if res.Header["Connection"] == nil {
		for _, name := range h.listed() {
			delete(res.Header, name)
		}
	}
	return res
}

// AddEndToEnd adds to header what [Head.Response] has in its own, but for the fields that
// were meant for one connection, as [fields.RemoveHopByHop] removes them. Values are cut
// from room, as far as that goes.
func (h *Head) AddEndToEnd(header http.Header, room []string) {
	text := h.copy()
	if len(room) < len(h.fields) {
		room = make([]string, len(h.fields))
	}
	listed := h.listed()
	add := func(name, value string) {
		if slices.Contains(listed, name) {
			return
		}
		if have := header[name]; have != nil {
			header[name] = append(have, value)
			return
		}
		room[0] = value
		header[name], room = room[:1:1], room[1:]
	}
	var pragma, control bool
	for i := range h.fields {
		f := &h.fields[i]
		if hops[f.id] || f.id == nameContentLength && (h.Length == chunked || i != h.lengthAt) {
			continue
		}
		name := names[f.id]
		if f.id == other {
			if name = f.name.in(text, h.begin); fields.HopByHop(name) {
				continue
			}
		}
		value := f.value.in(text, h.begin)
		pragma = pragma || f.id == namePragma && value == "no-cache" && h.Value(namePragma) == value
		control = control || f.id == nameCacheControl
		add(name, value)
	}
	if pragma && !control { // see header
		room = append(room, "")
		add("Cache-Control", "no-cache")
	}
}

// listed returns the canonical names of the fields that Connection lists.
func (h *Head) listed() (list []string) {
	for i := range h.fields {
		f := &h.fields[i]
		if f.id != nameConnection {
			continue
		}
		line := [1]string{f.value.of(h.b)}
		for name := range fields.Members(line[:]) {
			if !fields.EqualFold(name, "keep-alive") && !fields.EqualFold(name, "close") { // which go anyway
				list = append(list, http.CanonicalHeaderKey(name))
			}
		}
	}
	return list
}

// hops are the common names that are hop-by-hop, by number.
var hops = func() (t [256]bool) {
	for id, name := range names {
		t[id] = fields.HopByHop(name)
	}
	return t
}()
