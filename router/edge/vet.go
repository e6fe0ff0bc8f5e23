package edge

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/foretier/foretier/internal/fields"
	"github.com/foretier/foretier/internal/target"
	"github.com/foretier/foretier/internal/transit"
)

// refusal is why a request is answered by the edge itself.
type refusal struct {
	status int
	cause  error
}

var errRequest = errors.New("edge: request refused")

func refuse(status int, format string, args ...any) *refusal {
	return &refusal{status, fmt.Errorf("%w: "+format, append([]any{errRequest}, args...)...)}
}

// vetMethod refuses what no server behind the tier should be asked. nil means that
// nothing is wrong.
func vetMethod(r *http.Request) *refusal {
	switch strings.ToUpper(r.Method) {
	case http.MethodConnect:
		// What HTTP/2 and HTTP/3 have in place of Upgrade (RFC 8441, RFC 9220), as net/http notes it.
		if protocol := r.Header[":protocol"]; len(protocol) > 0 {
			no := refuse(http.StatusNotImplemented, "protocol %q", transit.Clip(protocol[0]))
			no.cause = transit.Meant(no.cause) // nothing has failed, whoever tries it
			return no
		}
		fallthrough
	case http.MethodTrace, "TRACK":
		return refuse(http.StatusMethodNotAllowed, "method %s", r.Method)
	}
	return nil
}

// vet looks at sizes, target and host of a request that another server has read, as
// package http1 does where the tier's own reads it.
func vet(r *http.Request, limits *Limits) *refusal {
	if limits.Target > 0 && len(r.RequestURI) > limits.Target {
		return refuse(http.StatusRequestURITooLong, "the target has %d bytes of %d", len(r.RequestURI), limits.Target)
	}
	if limits.Fields > 0 {
		if n := headerFields(r.Header); n > limits.Fields {
			return refuse(http.StatusRequestHeaderFieldsTooLarge, "the header has %d fields of %d", n, limits.Fields)
		}
		if n := cookies(r.Header); n > cookiesPerField*limits.Fields {
			return refuse(http.StatusRequestHeaderFieldsTooLarge, "the header has %d cookies of %d", n, cookiesPerField*limits.Fields)
		}
	}
	if limits.Headers > 0 {
		if n := headerSize(r.Header); n > limits.Headers {
			return refuse(http.StatusRequestHeaderFieldsTooLarge, "the header has %d bytes of %d", n, limits.Headers)
		}
	}
	if !target.Valid(r.RequestURI) {
		return refuse(http.StatusBadRequest, "target %q is neither a path nor an http URL", transit.Clip(r.RequestURI))
	}
	if r.ProtoMajor >= 2 {
		if no := vetPseudo(r); no != nil {
			return no
		}
	}
	for expected := range fields.Members(r.Header["Expect"]) {
		if !fields.EqualFold(expected, "100-continue") {
			return refuse(http.StatusExpectationFailed, "expectation %q", transit.Clip(expected))
		}
	}
	if !fields.Host(r.Host) && (r.Host != "" || r.ProtoAtLeast(1, 1)) {
		return refuse(http.StatusBadRequest, "host %q", transit.Clip(fields.AfterLogin(r.Host)))
	}
	return nil
}

// vetPseudo refuses what net/http lets pass over HTTP/2 though it is malformed, and means
// one thing to one server and something else to another.
func vetPseudo(r *http.Request) *refusal {
	if r.RequestURI != "*" && !strings.HasPrefix(r.RequestURI, "/") { // RFC 9113, section 8.3.1
		return refuse(http.StatusBadRequest, "path %q", transit.Clip(r.RequestURI))
	}
	for _, host := range r.Header["Host"] { // likewise
		if !fields.EqualFold(host, r.Host) {
			return refuse(http.StatusBadRequest, "host %q beside authority %q", transit.Clip(fields.AfterLogin(host)), transit.Clip(fields.AfterLogin(r.Host)))
		}
	}
	lengths := r.Header["Content-Length"]
	for _, length := range lengths { // RFC 9110, section 8.6
		if !only(length, isDigit, "") || length == "" || length != lengths[0] || len(length) > len("9223372036854775807") {
			return refuse(http.StatusBadRequest, "length %q", transit.Clip(length))
		}
	}
	return nil
}

// headerSize is what h took on the wire in HTTP/1.1.
func headerSize(h http.Header) int {
	n := 0
	for name, values := range h {
		for _, v := range values {
			n += len(name) + len(v) + len(": \r\n")
		}
	}
	return n
}

// cookiesPerField is how many cookies may come for each field that may. Browsers
// keep some 200 for a site.
const cookiesPerField = 2

// cookies is how many cookies h may have.
func cookies(h http.Header) int {
	n := 0
	for _, line := range h["Cookie"] {
		n += strings.Count(line, ";") + 1
	}
	return n
}

// headerFields is how many lines h took on the wire, cookies as one: over HTTP/2
// each may come alone (RFC 9113, section 8.2.3).
func headerFields(h http.Header) int {
	n := 0
	for name, values := range h {
		if name == "Cookie" {
			n++
			continue
		}
		n += len(values)
	}
	return n
}

func only(s string, class func(byte) bool, more string) bool {
	for i := range len(s) {
		if !class(s[i]) && strings.IndexByte(more, s[i]) < 0 {
			return false
		}
	}
	return true
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

func isAlnum(c byte) bool { return '0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'z' }
