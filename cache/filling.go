package cache

import (
	"fmt"
	"net/http"
	"net/textproto"
	"slices"
	"strings"

	"github.com/foretier/foretier/internal/fields"
	"github.com/foretier/foretier/internal/transit"
)

// BrowserFields returns the names of the fields that browsers send when they
// ask for a page, an image or data, for [Options.FillFields].
func BrowserFields() []string {
	return []string{
		"Accept", "Accept-Language", "Access-Control-Request-*", "Dnt", "Origin", "Priority", "Purpose", "Referer", "Save-Data",
		"Sec-Ch-*", "Sec-Fetch-*", "Sec-Gpc", "Sec-Purpose", "Upgrade-Insecure-Requests", "User-Agent", "X-Requested-With",
		"Device-Memory", "Downlink", "Dpr", "Ect", "Rtt", "Viewport-Width",
	}
}

// settled are the fields that [Options.FillFields] is not asked about, because
// what of them reaches a backend is decided elsewhere.
var settled = []string{
	"Accept-Encoding", "Surrogate-Capability", "Cache-Control", "Pragma", // the fetch has its own
	"Authorization", "Cookie", // have rules of their own
	"X-Request-Id", "X-Forwarded-For", "X-Forwarded-Proto", // the tier's, or a trusted proxy's
	"Connection", "Keep-Alive", "Proxy-Connection", "Proxy-Authorization", "Te", "Trailer", "Transfer-Encoding", // for this hop
}

// fillFields checks the names of [Options.FillFields] and returns them in the
// form in which a header has them, nil if all fields may go along.
func fillFields(list []string) ([]string, error) {
	if list == nil {
		return nil, nil
	}
	out := slices.Clone(settled)
	for _, name := range list {
		if name != "*" && !fields.Token(strings.TrimSuffix(name, "*")) {
			return nil, fmt.Errorf("cache: FillFields has %q: want the name of a field, or the beginning of some, such as X-Shop-*", name)
		}
		out = append(out, textproto.CanonicalMIMEHeaderKey(name))
	}
	return out, nil
}

// strange returns the fields of a request with which its answer does not fill
// the cache, unless it says that it varies on them: see [Options.FillFields].
func strange(r *http.Request, may []string) []string {
	if may == nil {
		return nil
	}
	var out []string
	for as := range r.Header {
		if (as == "Traceparent" || as == "Tracestate") && transit.From(r.Context()).Trace != "" {
			continue // which edge has judged or made
		}
		if name := textproto.CanonicalMIMEHeaderKey(as); !narrows(name) && !fields.Names(may).Match(name) {
			out = append(out, name)
		}
	}
	return out
}

// except returns the names that the fields of selecting, separated by commas,
// are not.
func except(list []string, selecting string) []string {
	found := make(map[string]bool)
	for name := range strings.SplitSeq(selecting, ",") {
		found[name] = true
	}
	return slices.DeleteFunc(slices.Clone(list), func(name string) bool { return found[name] })
}

// narrows reports whether by a field a client asks for less than the whole,
// or under a condition. Such fields are answered here and not sent along with a
// fetch: what comes back would depend on them, and they are not in the key.
func narrows(name string) bool {
	switch name {
	case "Range", "Request-Range", // Apache takes either for the other
		"If", "Expect", "A-Im":
		return true
	}
	return strings.HasPrefix(name, "If-")
}
