package router

import (
	"net/http"
	"strings"
	"unsafe"

	"github.com/foretier/foretier/internal/fields"
	"github.com/foretier/foretier/internal/target"
)

// readings are the ways in which servers may understand one request path.
type readings struct {
	target.Readings
	// said is what matchers have said that need not be asked again.
	said []said
	// host is what was asked for, once a matcher has wanted to know.
	host string
	// cookies are the request's by name, once matchers have looked often.
	cookies map[string][]string
	// query is the request's by name, likewise.
	query map[string][]string
	// looks are those at cookies, and queries those at the query, as long as they are few.
	looks, queries uint8
	// beyond says that somebody has wanted to know more than method, scheme, host and
	// target.
	beyond bool
	// shown says that a function which is not the tier's own has had the request.
	shown bool
	// byQuery says that somebody has looked at the query, or may have.
	byQuery bool
}

// said is what a matcher has said of a request. Its id tells it from others.
type said struct {
	id  unsafe.Pointer
	yes bool
}

// once returns what the matcher with the id says of the request, and asks it only
// the first time.
func (rd *readings) once(id unsafe.Pointer, ask func() bool) bool {
	for _, known := range rd.said {
		if known.id == id {
			return known.yes
		}
	}
	yes := ask()
	rd.said = append(rd.said, said{id, yes})
	return yes
}

func read(sent string) readings { return readings{Readings: target.Read(sent)} }

func refused(why string) readings { return readings{Readings: target.Readings{Refusal: why}} }

// readRequest returns the readings of what r asks for: the target as the client
// sent it as long as r.URL still says the same, else what r.URL says, which is
// what a rewritten or outgoing request is sent with.
func readRequest(r *http.Request) readings {
	raw, refusal := targetPath(r.RequestURI)
	if r.RequestURI == "" || !sameTarget(r, raw) {
		return readURL(r)
	}
	if refusal != "" {
		return refused(refusal)
	}
	return read(raw)
}

// readURL returns the readings of r.URL alone.
func readURL(r *http.Request) readings {
	if r.URL.Opaque != "" {
		return refused("the URL is opaque")
	}
	if strings.Contains(r.URL.RawQuery, "#") || r.URL.Fragment != "" {
		return refused("holds a fragment")
	}
	path := target.Sent(r.URL)
	if path == "" {
		path = "/"
	}
	return read(path)
}

// sameTarget reports whether raw, the path of r's request line, is what r.URL
// holds, be it with the bytes escaped that no path may hold.
func sameTarget(r *http.Request, raw string) bool {
	if r.URL.Opaque != "" || r.URL.Fragment != "" || strings.Contains(r.URL.RawQuery, "#") {
		return false
	}
	if raw == r.URL.Path && r.URL.RawPath == "" || raw == "/" && r.URL.Path == "" {
		return true
	}
	sent := target.Sent(r.URL)
	return raw == sent || target.IsEscaped(raw, sent)
}

// targetPath takes the path out of a request target in origin form or, with
// an http or https scheme, in absolute form (RFC 9112, section 3.2), as sent.
func targetPath(line string) (path, refusal string) {
	if strings.Contains(line, "#") {
		return "", "holds a fragment"
	}
	path, _, _ = strings.Cut(line, "?")
	if strings.HasPrefix(path, "/") {
		return path, ""
	}
	scheme, rest, ok := strings.Cut(path, "://")
	if !ok || !fields.EqualFold(scheme, "http") && !fields.EqualFold(scheme, "https") {
		return "", "is neither a path nor an http URL"
	}
	authority, _, _ := strings.Cut(rest, "/")
	if authority == "" {
		return "", "names no host"
	}
	if rest = rest[len(authority):]; rest == "" {
		return "/", ""
	}
	return rest, ""
}
