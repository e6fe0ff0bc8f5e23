package http2

import (
	"net/http"

	"github.com/foretier/foretier/internal/fields"
	"github.com/foretier/foretier/internal/http1"
)

// A Response is the fields of one, in the order in which they come (RFC 9113, section
// 8.3.2): of one that comes beforehand too. The zero Response has none yet.
type Response struct {
	status    int
	text      []byte // of the head, as HTTP/1.1 has it
	length    bool   // there is a Content-Length
	malformed string // why it is no response; empty: it may be
	large     bool   // there is more than fits
}

// Reset makes r ready for another response.
func (r *Response) Reset() {
	text := r.text[:0]
	if cap(text) > 64<<10 { // it would never shrink
		text = nil
	}
	*r = Response{text: text}
}

// Status is what the response says of itself, 0 for nothing yet.
func (r *Response) Status() int { return r.status }

// Add adds the next field. The head may have limit bytes.
func (r *Response) Add(name, value string, limit int) {
	switch {
	case r.malformed != "" || r.large:
	case len(r.text)+len(name)+len(value)+len(": \r\n\r\n") > limit:
		r.large = true
	case name != "" && name[0] == ':':
		r.pseudo(name, value)
	default:
		r.field(name, value)
	}
}

func (r *Response) pseudo(name, value string) {
	switch {
	case name != ":status":
		r.malformed = "a pseudo-field that no response has"
	case r.status != 0:
		r.malformed = "a status that is there twice, or behind a field"
	case len(value) != 3 || value[0] < '1' || value[0] > '9' || !digit(value[1]) || !digit(value[2]):
		r.malformed = "a status that is none"
	default:
		r.status = int(value[0]-'0')*100 + int(value[1]-'0')*10 + int(value[2]-'0')
		r.text = http1.AppendStatus(r.text, 1, r.status)
	}
}

func digit(c byte) bool { return '0' <= c && c <= '9' }

func (r *Response) field(name, value string) {
	switch {
	case r.status == 0:
		r.malformed = "a field before the status"
	case !line(name, value):
		r.malformed = "a field that HTTP/2 does not have: its name or value has what it may not"
	default:
		switch name {
		case "connection", "proxy-connection", "keep-alive", "transfer-encoding", "upgrade":
			r.malformed = "a field of the connection: " + name // RFC 9113, section 8.2.2
			return
		case "content-length":
			r.length = true
		}
		r.text = append(append(append(append(r.text, name...), ": "...), value...), "\r\n"...)
	}
}

// Text returns the head as HTTP/1.1 has it, in memory of its own: one parser judges what is
// answered, whatever it has come over. A body of which nobody says how long it is ends with
// its stream, and so is sure to be whole, as chunks are. There is none if end. The error is
// an [*http1.Refusal] for what is too large, else the response is malformed.
func (r *Response) Text(end bool) ([]byte, error) {
	switch {
	case r.malformed != "":
		return nil, malformed(r.malformed)
	case r.large:
		return nil, &http1.Refusal{Status: http.StatusRequestHeaderFieldsTooLarge, Cause: "the response's header is too large"}
	case r.status == 0:
		return nil, malformed("no status")
	case r.status == http.StatusSwitchingProtocols:
		return nil, malformed("101, which HTTP/2 does not have") // RFC 9113, section 8.6
	case r.status < 200 && end:
		return nil, malformed("an informational response that ends its stream")
	}
	const chunked = "Transfer-Encoding: chunked\r\n"
	b := append(make([]byte, 0, len(r.text)+len(chunked)+2), r.text...)
	if !r.length && r.status >= 200 {
		b = append(b, chunked...)
	}
	return append(b, "\r\n"...), nil
}

// AddReplyTrailer adds a field behind a response's body to trailers, and reports whether
// there may be such a one at all (RFC 9113, section 8.1).
func AddReplyTrailer(trailers http.Header, name, value string) bool {
	if !line(name, value) || !fields.Value(value) {
		return false
	}
	trailers.Add(name, value)
	return true
}
