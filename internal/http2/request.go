package http2

import (
	"net/http"
	"strings"

	"github.com/foretier/foretier/internal/fields"
	"github.com/foretier/foretier/internal/http1"
)

// A Request is the fields of one, in the order in which they come (RFC 9113, section
// 8.3). The zero Request has none yet.
type Request struct {
	method, scheme, authority, path, protocol string
	host                                      string // as the field Host has it
	lines                                     []byte // of all other fields
	cookies                                   []byte // of all lines of Cookie: one in HTTP/1
	text                                      []byte // of the head; its strings are parts of this
	priority                                  string
	prioritized, regular                      bool // there is a Priority; a field that is no pseudo-field
	hasPath, hasHost                          bool

	malformed string // why it is no request; empty: it may be
	large     bool   // there is more than fits
}

// Reset makes r ready for another request. What was parsed of it is none any more.
func (r *Request) Reset() {
	*r = Request{lines: r.lines[:0], cookies: r.cookies[:0], text: r.text[:0]}
}

// most is how many bytes of fields are kept: those beyond change nothing.
func most(lim *http1.Limits) int {
	most := 0
	for _, limit := range [...]int{lim.Target, lim.Size} {
		if limit <= 0 {
			limit = http1.MaxHeader
		}
		most += limit
	}
	return most + 1<<10
}

// MostBlock is how many bytes a block of fields may have as it comes, and each string in
// it decompressed; whoever sends more is no peer that means well.
func MostBlock(lim *http1.Limits) int { return 2*most(lim) + 16<<10 }

// Add adds the next field.
func (r *Request) Add(name, value string, lim *http1.Limits) {
	switch {
	case r.malformed != "" || r.large:
	case len(r.lines)+len(r.cookies)+len(r.path)+len(name)+len(value) > most(lim):
		r.large = true
	case strings.HasPrefix(name, ":"):
		r.pseudo(name, value)
	default:
		r.field(name, value)
	}
}

// refuse notes why r is malformed.
func (r *Request) refuse(why string) { r.malformed = why }

func (r *Request) pseudo(name, value string) {
	var to *string
	switch name {
	case ":method":
		to = &r.method
	case ":scheme":
		to = &r.scheme
	case ":authority":
		to = &r.authority
	case ":path":
		to, r.hasPath = &r.path, true
	case ":protocol":
		to = &r.protocol
	}
	switch {
	case to == nil:
		r.refuse("a pseudo-field that no request has")
	case r.regular:
		r.refuse("a pseudo-field behind a field")
	case *to != "":
		r.refuse("a pseudo-field that is there twice: " + name)
	case !visible(value):
		r.refuse("a blank or control byte in " + name + ", or nothing")
	default:
		*to = value
	}
}

// visible reports whether s has neither controls nor blanks, and something.
func visible(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] == 0x7f {
			return false
		}
	}
	return s != ""
}

// line reports whether HTTP/2 may have a field of this name, which is no pseudo-field,
// and of this value (RFC 9113, section 8.2.1).
func line(name, value string) bool {
	for i := range len(name) {
		if !ofName[name[i]] {
			return false
		}
	}
	n := len(value)
	return name != "" && (n == 0 || !blank(value[0]) && !blank(value[n-1])) &&
		strings.IndexByte(value, '\n') < 0 && strings.IndexByte(value, '\r') < 0 && strings.IndexByte(value, 0) < 0
}

// ofName are the bytes of tokens (RFC 9110, section 5.6.2) but for capital letters.
var ofName = func() (t [256]bool) {
	for _, c := range []byte("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz") {
		t[c] = true
	}
	return t
}()

func blank(c byte) bool { return c == ' ' || c == '\t' }

func (r *Request) field(name, value string) {
	r.regular = true
	if !line(name, value) {
		r.refuse("a field that HTTP/2 does not have: its name or value has what it may not")
		return
	}
	switch name {
	case "connection", "proxy-connection", "keep-alive", "transfer-encoding", "upgrade":
		r.refuse("a field of the connection: " + name) // RFC 9113, section 8.2.2
		return
	case "te":
		if value != "trailers" {
			r.refuse("TE of more than trailers")
			return
		}
	case "host":
		if r.hasHost && r.host != value {
			r.refuse("more than one Host")
		}
		r.host, r.hasHost = value, true
		return
	case "cookie": // RFC 9113, section 8.2.3
		if len(r.cookies) > 0 {
			r.cookies = append(r.cookies, "; "...)
		}
		r.cookies = append(r.cookies, value...)
		return
	case "priority":
		if r.prioritized {
			r.priority += ","
		}
		r.priority += value
		r.prioritized = true
	}
	r.lines = append(append(append(append(r.lines, name...), ": "...), value...), "\r\n"...)
}

// Priority is that which the request says, or [Fair].
func (r *Request) Priority() Priority {
	if !r.prioritized {
		return Fair
	}
	return ParsePriority(r.priority)
}

// Protocol is what the request asks to speak on its stream, "" for none: it is an extended
// CONNECT then (RFC 8441, section 4).
func (r *Request) Protocol() string { return r.protocol }

// Parse reads into head what the request asks for: head's strings are r's, until it is
// reset. There is no body if end. The error is a [*http1.Refusal], with which the request
// is answered, or of any other kind: it is malformed, and its stream is given up (RFC 9113,
// section 8.1.1).
func (r *Request) Parse(head *http1.Head, lim *http1.Limits, end bool) error {
	if err := r.check(); err != nil {
		return err
	}
	if r.large {
		return &http1.Refusal{Status: http.StatusRequestHeaderFieldsTooLarge, Cause: "the header is too large by far"}
	}
	r.render()
	n, err := head.ParseRequest(r.text, lim)
	switch {
	case err != nil:
		head.Reset()
		return err
	case n != len(r.text): // cannot be: no value has a line's end
		head.Reset()
		return malformed("a request within a request")
	}
	length := head.Value(contentLength)
	switch {
	case end && head.Length > 0:
		return malformed("no body, of which the length was stated")
	case r.protocol != "":
		// What comes on its stream is no body, and a backend must not wait for one.
		if length != "" || head.Value(expect) != "" {
			return malformed("an extended CONNECT that announces a body")
		}
	case !end && length == "":
		head.Length = -1
	}
	head.Expect = !end && r.protocol == "" && fields.EqualFold(head.Value(expect), "100-continue")
	return nil
}

var contentLength, expect = http1.Known("Content-Length"), http1.Known("Expect")

// A malformed request says why it is none.
type malformed string

func (m malformed) Error() string { return string(m) }

// check judges what of the fields is HTTP/2's.
func (r *Request) check() error {
	connect := r.method == http.MethodConnect && r.protocol == ""
	switch {
	case r.malformed != "":
		return malformed(r.malformed)
	case r.large:
		return nil // and nobody knows what is missing
	case r.method == "" || !fields.Token(r.method):
		return malformed("no method")
	case connect && (r.hasPath || r.scheme != "" || r.authority == ""):
		return malformed("CONNECT with more or less than an authority") // RFC 9113, section 8.5
	case connect:
	case r.protocol != "" && r.method != http.MethodConnect:
		return malformed(":protocol of another method than CONNECT")
	case r.protocol != "" && !fields.Token(r.protocol):
		return malformed("a :protocol that is no token")
	case r.scheme == "":
		return malformed("no scheme")
	case !fields.EqualFold(r.scheme, "https") && !fields.EqualFold(r.scheme, "http"):
		return malformed("another scheme than http and https") // of which some make a URL
	case r.path == "" || r.path[0] != '/' && (r.path != "*" || r.method != http.MethodOptions):
		return malformed("no path")
	}
	if r.hasHost && !visible(r.host) || r.authority != "" && r.hasHost && !fields.EqualFold(r.authority, r.host) {
		return malformed("a Host that is not the authority")
	}
	return nil
}

// render writes the head as HTTP/1.1 has it. What an extended CONNECT asks for is what a
// GET with Upgrade does (RFC 8441, section 5).
func (r *Request) render() {
	method, to, host := r.method, r.path, r.authority
	if host == "" {
		host = r.host
	}
	switch {
	case r.protocol != "":
		method = http.MethodGet
	case method == http.MethodConnect:
		to = r.authority
	}
	b := append(append(append(append(r.text[:0], method...), ' '), to...), " HTTP/1.1\r\n"...)
	if host != "" {
		b = append(append(append(b, "Host: "...), host...), "\r\n"...)
	}
	b = append(b, r.lines...)
	if len(r.cookies) > 0 {
		b = append(append(append(b, "Cookie: "...), r.cookies...), "\r\n"...)
	}
	if r.protocol != "" {
		b = append(append(append(b, "Connection: Upgrade\r\nUpgrade: "...), r.protocol...), "\r\n"...)
	}
	r.text = append(b, "\r\n"...)
}

// AddTrailer adds a field behind a body to trailers, and reports whether there may be such
// a one at all (RFC 9113, section 8.1). What says how a message is read is left out.
func AddTrailer(trailers http.Header, name, value string) bool {
	if !line(name, value) {
		return false
	}
	if http1.MayTrail(name) && fields.Value(value) {
		trailers.Add(name, value)
	}
	return true
}

// Line is what the log may have of a request that is none: what its first line would be.
func (r *Request) Line() string {
	path := r.path
	if path == "" || path[0] != '/' {
		path = "?"
	}
	return r.method + " " + path + " HTTP/2.0"
}
