package esi

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/foretier/foretier/internal/fields"
	"github.com/foretier/foretier/internal/target"
	"github.com/foretier/foretier/internal/transit"
)

// A place is where a template or a fragment is.
type place struct {
	url   *url.URL // path and query
	host  string   // as it is asked for
	other bool     // than the visitor's
}

var (
	errReference = errors.New("esi: no reference to a page over http or https")
	errHost      = errors.New("esi: the host is neither the page's own nor one of Options.Hosts")
)

// refer returns where a reference in what is at p leads (RFC 3986, section 5): to the
// visitor's own host or one of others. No escape of it is undone on the way, and none of
// its bytes can be another request's.
func (p place) refer(reference, own string, others []string) (place, error) {
	bad := fmt.Errorf("%w: %.200q", errReference, reference)
	u := parse(reference)
	if u == nil {
		return place{}, bad
	}
	to := p
	switch name := fields.Hostname(u.Host); {
	case u.Host == "": // where p is
	case name == fields.Hostname(own):
		to.host, to.other = own, false
	case slices.Contains(others, name):
		to.host, to.other = name, true
	default:
		return place{}, fmt.Errorf("%w: %.200q", errHost, reference)
	}
	t := target.Of(target.Preserve(p.url).ResolveReference(target.Preserve(u)))
	t.Query = target.EscapeQuery(t.Query)
	if s := t.String(); s[0] != '/' || !target.Valid(s) || len(s) > maxTarget {
		return place{}, bad
	}
	to.url = new(url.URL)
	t.Set(to.url)
	return to, nil
}

// parse returns a reference to something over http or https, or nil.
func parse(reference string) *url.URL {
	for i := range len(reference) {
		if c := reference[i]; c < ' ' || c == 0x7f {
			return nil
		}
	}
	u, err := url.Parse(reference)
	switch {
	case err != nil || u.Opaque != "" || u.User != nil:
		return nil
	case u.Scheme != "" && (u.Scheme != "http" && u.Scheme != "https" || u.Host == ""):
		return nil
	case u.Host != "" && !fields.Host(u.Host):
		return nil
	}
	return u
}

// maxTarget is how long the target of a fragment may be, as a visitor's own.
const maxTarget = 8000

func (p place) same(q place) bool {
	return p.host == q.host && target.Of(p.url) == target.Of(q.url)
}

func (p place) String() string { return transit.Clip(p.host + target.Of(p.url).String()) }

// request returns what asks for the fragment at p on behalf of the visitor who has
// asked for page. Its context is not set.
func (p place) request(page *http.Request, capability string) *http.Request {
	r := &http.Request{
		Method: http.MethodGet, URL: p.url, RequestURI: target.Of(p.url).String(), Host: p.host,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: make(http.Header, len(page.Header)), Body: http.NoBody,
		RemoteAddr: page.RemoteAddr, TLS: page.TLS,
	}
	for name, values := range page.Header {
		if as := http.CanonicalHeaderKey(name); !ofOne(as) && (!p.other || ofAll(as)) {
			r.Header[name] = slices.Clip(values)
		}
	}
	r.Header["Accept-Encoding"] = []string{"identity"}
	r.Header["Surrogate-Capability"] = []string{capability}
	return r
}

// ofOne reports whether a field speaks of the one request that it stands in: of its
// body, of which part it wants, under which condition, or of its connection.
func ofOne(name string) bool {
	switch name {
	case "Content-Disposition", "Content-Digest", "Content-Encoding", "Content-Language", "Content-Length", "Content-Location",
		"Content-Md5", "Content-Range", "Content-Type", // no others: Content-Currency is Magento's
		"Range", "Request-Range", "If", "A-Im", "Expect", "Te", "Trailer", "Transfer-Encoding", "Upgrade", "Connection", "Keep-Alive",
		"Http2-Settings", "Idempotency-Key", "Digest", "Repr-Digest", "Want-Digest", "Want-Content-Digest", "Want-Repr-Digest",
		"Max-Forwards", "Proxy-Authorization", "Proxy-Connection", "Early-Data", "Depth", "Origin":
		return true
	}
	return strings.HasPrefix(name, "If-")
}

// ofAll reports whether a field goes to other hosts than the visitor's too.
func ofAll(name string) bool {
	switch name {
	case "Accept", "Accept-Language", "User-Agent", "X-Forwarded-For", "X-Forwarded-Proto", "X-Request-Id", "Traceparent", "Tracestate", "Forwarded", "Via":
		return true
	}
	return false
}
