package fcgi

import (
	"encoding/binary"
	"errors"
	"net"
	"net/http"
	"strconv"
	"strings"

	"github.com/foretier/foretier/internal/fields"
	"github.com/foretier/foretier/internal/target"
	"github.com/foretier/foretier/internal/transit"
)

// errLarge means that one of a request's fields fits into no record.
var errLarge = errors.New("fcgi: a field of the request has more than 65,000 bytes")

// params are the parameters of a request as records. PHP wants each whole in one.
type params struct {
	b  []byte
	at int // where the record begins that is being filled
	// large says that one did not fit.
	large bool
}

// appendParams appends the stream of parameters of a request that runs a script.
func appendParams(b []byte, r *http.Request, run found, root string) ([]byte, error) {
	p := params{b: b}
	p.begin()
	p.addScript(r, run, root)
	p.addClient(r)
	for name, values := range r.Header {
		p.addField(name, values)
	}
	if r.Host != "" {
		p.add("HTTP_HOST", r.Host)
	}
	p.end()
	if p.large {
		return b, errLarge
	}
	return appendHeader(p.b, kindParams, 0), nil
}

// addScript adds what is asked for.
func (p *params) addScript(r *http.Request, run found, root string) {
	p.add("GATEWAY_INTERFACE", "CGI/1.1")
	p.add("SERVER_SOFTWARE", "foretier")
	p.add("SERVER_PROTOCOL", r.Proto)
	p.add("REDIRECT_STATUS", "200") // without which a PHP that is built so runs nothing
	p.add("REQUEST_METHOD", r.Method)
	p.add("REQUEST_URI", target.Of(r.URL).String())
	p.add("QUERY_STRING", r.URL.RawQuery)
	p.add("DOCUMENT_ROOT", root)
	p.add("DOCUMENT_URI", run.script+run.info)
	p.add("SCRIPT_NAME", run.script)
	p.add("SCRIPT_FILENAME", root+run.script)
	if run.info != "" {
		p.add("PATH_INFO", run.info)
	}
	length := ""
	if r.ContentLength > 0 || r.ContentLength == 0 && r.Header["Content-Length"] != nil {
		length = strconv.FormatInt(r.ContentLength, 10)
	}
	p.add("CONTENT_TYPE", r.Header.Get("Content-Type"))
	p.add("CONTENT_LENGTH", length)
}

// addClient adds who asks, and whom.
func (p *params) addClient(r *http.Request) {
	client := ""
	if addr := transit.Client(r); addr.IsValid() {
		client = addr.WithZone("").String()
		if addr == transit.Peer(r) {
			_, port, _ := net.SplitHostPort(r.RemoteAddr)
			p.add("REMOTE_PORT", port)
		}
	}
	p.add("REMOTE_ADDR", client)
	scheme := transit.Scheme(r)
	p.add("REQUEST_SCHEME", scheme)
	port := "80"
	if scheme == "https" {
		p.add("HTTPS", "on")
		port = "443"
	}
	name, given := fields.SplitPort(r.Host)
	if len(given) > 1 {
		port = given[1:]
	}
	p.add("SERVER_NAME", name)
	p.add("SERVER_PORT", port)
	if at, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr); ok {
		if host, _, err := net.SplitHostPort(at.String()); err == nil {
			p.add("SERVER_ADDR", host)
		}
	}
}

// addField adds a field of the request (RFC 3875, section 4.1.18).
func (p *params) addField(name string, values []string) {
	switch {
	case name == "Content-Type" || name == "Content-Length" || name == "Host": // which are said by themselves
		return
	case name == "Proxy": // or HTTP_PROXY would be the client's (CVE-2016-5385)
		return
	case fields.HopByHop(name) || len(values) == 0:
		return
	case name == "User-Agent" && values[0] == "": // by which a pool says that there is none
		return
	}
	var space [64]byte
	variable := append(space[:0], "HTTP_"...)
	for _, c := range []byte(name) {
		switch {
		case c >= 'a' && c <= 'z':
			c -= 'a' - 'A'
		case c == '-':
			c = '_'
		case c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
		default:
			return
		}
		variable = append(variable, c)
	}
	value := values[0]
	if len(values) > 1 {
		sep := ", "
		if name == "Cookie" {
			sep = "; " // RFC 9113, section 8.2.3
		}
		value = strings.Join(values, sep)
	}
	p.add(string(variable), value)
}

// begin begins a record.
func (p *params) begin() {
	p.at = len(p.b)
	p.b = appendHeader(p.b, kindParams, 0)
}

// end ends the record. One without content is none: it would end the parameters.
func (p *params) end() {
	n := len(p.b) - p.at - headerLen
	if n == 0 {
		p.b = p.b[:p.at]
		return
	}
	binary.BigEndian.PutUint16(p.b[p.at+4:], uint16(n))
}

// add adds a parameter (FastCGI 1.0, section 3.4).
func (p *params) add(name, value string) {
	n := lengthLen(name) + lengthLen(value) + len(name) + len(value)
	if n > maxContent {
		p.large = true
		return
	}
	if len(p.b)-p.at-headerLen+n > maxContent {
		p.end()
		p.begin()
	}
	p.b = appendLength(appendLength(p.b, len(name)), len(value))
	p.b = append(append(p.b, name...), value...)
}

// lengthLen is how many bytes appendLength takes for a string's length.
func lengthLen(s string) int {
	if len(s) < 1<<7 {
		return 1
	}
	return 4
}

func appendLength(b []byte, n int) []byte {
	if n < 1<<7 {
		return append(b, byte(n))
	}
	return binary.BigEndian.AppendUint32(b, uint32(n)|1<<31)
}
