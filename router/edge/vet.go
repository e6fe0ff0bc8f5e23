package edge

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"strings"

	"github.com/foretier/foretier/internal/fields"
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

// vet looks at a request's first lines as they came: method, target and host.
// nil means that nothing is wrong with them.
func vet(r *http.Request, limits *Limits) *refusal {
	switch strings.ToUpper(r.Method) {
	case http.MethodConnect, http.MethodTrace, "TRACK":
		return refuse(http.StatusMethodNotAllowed, "method %s", r.Method)
	}
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
	if !goodTarget(r.RequestURI) {
		return refuse(http.StatusBadRequest, "target %q is neither a path nor an http URL", transit.Clip(r.RequestURI))
	}
	if !goodHost(r.Host) && (r.Host != "" || r.ProtoAtLeast(1, 1)) {
		return refuse(http.StatusBadRequest, "host %q", transit.Clip(r.Host))
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

// goodTarget reports whether target is in origin form, or in absolute form with
// an http or https scheme, a host and no user (RFC 9112, section 3.2, and RFC
// 9110, section 4.2.4). Bytes that belong in no target disqualify both; what
// the path means is the router's to judge.
func goodTarget(target string) bool {
	for i := range len(target) {
		if c := target[i]; c <= ' ' || c == 0x7f || c == '#' {
			return false
		}
	}
	if strings.HasPrefix(target, "/") {
		return true
	}
	scheme, rest, ok := strings.Cut(target, "://")
	if !ok || !fields.EqualFold(scheme, "http") && !fields.EqualFold(scheme, "https") {
		return false
	}
	if i := strings.IndexAny(rest, "/?"); i >= 0 {
		rest = rest[:i]
	}
	return goodHost(rest)
}

// goodHost reports whether host is a name or an address, with or without port
// (RFC 3986, section 3.2.2, without percent-encoding).
func goodHost(host string) bool {
	name, port := fields.SplitPort(host)
	if !goodPort(port) {
		return false
	}
	if inner, ok := strings.CutPrefix(name, "["); ok {
		inner, ok = strings.CutSuffix(inner, "]")
		addr, err := netip.ParseAddr(inner)
		return ok && err == nil && addr.Is6() && addr.Zone() == ""
	}
	return name != "" && len(name) <= 255 && only(name, isAlnum, "-._") &&
		!strings.HasPrefix(name, ".") && !strings.Contains(name, "..")
}

// goodPort reports whether s is empty or a colon and a port, which may be
// empty.
func goodPort(s string) bool {
	return s == "" || s[0] == ':' && len(s) <= 6 && only(s[1:], isDigit, "")
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
func isAlnum(c byte) bool { return isDigit(c) || 'a' <= c|0x20 && c|0x20 <= 'z' }
