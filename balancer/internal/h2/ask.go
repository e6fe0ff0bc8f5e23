package h2

import (
	"cmp"
	"fmt"
	"net/http"
	"strings"

	"github.com/foretier/foretier/internal/fields"
	"github.com/foretier/foretier/internal/http1"
	"github.com/foretier/foretier/internal/http2"
)

// Names of fields that are the connection's, or said by this package itself.
var (
	nameHost             = http1.Known("Host")
	nameContentLength    = http1.Known("Content-Length")
	nameTransferEncoding = http1.Known("Transfer-Encoding")
	nameTrailer          = http1.Known("Trailer")
	nameConnection       = http1.Known("Connection")
	nameKeepAlive        = http1.Known("Keep-Alive")
	nameProxyConnection  = http1.Known("Proxy-Connection")
	nameUpgrade          = http1.Known("Upgrade")
	nameTe               = http1.Known("Te")
	nameUserAgent        = http1.Known("User-Agent")
)

// appendCall appends the block of the call's head. It refuses what package http1 refuses,
// and what only HTTP/1.1 can carry.
func appendCall(b []byte, call *http1.Call, scheme string) ([]byte, error) {
	to, err := call.Target()
	if err != nil {
		return nil, err
	}
	r := call.Request
	var room [512]byte
	path := to.Append(append(room[:0], call.Base...))
	b = http2.AppendRequest(append(b, http2.NoTable), cmp.Or(r.Method, http.MethodGet), scheme, r.Host, path)
	if n, says := call.Length(); says {
		b = http2.AppendNumber(http2.AppendName(b, "Content-Length"), n)
	}
	if call.Body != nil && len(call.Trailer) > 0 {
		b = http2.AppendField(b, "Trailer", strings.Join(call.Trailer, ", "))
	}
	for name, values := range call.Header {
		if b, err = appendValues(b, name, values); err != nil {
			return nil, err
		}
	}
	return b, nil
}

func appendValues(b []byte, name string, values []string) ([]byte, error) {
	switch id := http1.Known(name); {
	case id == 0 && !fields.Token(name):
		return nil, fmt.Errorf("%w: field name %q", http1.ErrInvalid, name)
	case id == 0:
	case id == nameHost, id == nameContentLength, id == nameTransferEncoding, id == nameTrailer,
		id == nameConnection, id == nameKeepAlive, id == nameProxyConnection:
		return b, nil
	case id == nameUpgrade: // RFC 9113, section 8.6
		return nil, fmt.Errorf("%w: an upgrade over HTTP/2", http1.ErrInvalid)
	case id == nameTe:
		if fields.HasToken(values, "trailers") { // and nothing else (RFC 9113, section 8.2.2)
			b = http2.AppendField(b, name, "trailers")
		}
		return b, nil
	case id == nameUserAgent && len(values) == 1 && values[0] == "": // asked to say nothing
		return b, nil
	}
	for _, v := range values {
		if !fields.Value(v) {
			return nil, fmt.Errorf("%w: value of field %s", http1.ErrInvalid, name)
		}
		b = http2.AppendField(b, name, v)
	}
	return b, nil
}
