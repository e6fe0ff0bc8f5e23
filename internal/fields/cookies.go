package fields

import (
	"iter"
	"net/http"
	"net/textproto"
	"strings"
)

// Cookies yields the cookies of a request's header as they came: the name, and
// the whole pair. It also yields those that [http.Request.Cookies] leaves out
// because it does not like their value, such as JSON: a backend may like them,
// and what a backend sees must not be overlooked.
func Cookies(h http.Header) iter.Seq2[string, string] {
	return func(yield func(name, pair string) bool) {
		for _, line := range h["Cookie"] {
			for pair := range strings.SplitSeq(line, ";") {
				if pair = textproto.TrimString(pair); pair == "" {
					continue
				}
				name, _, _ := strings.Cut(pair, "=")
				if !yield(textproto.TrimString(name), pair) {
					return
				}
			}
		}
	}
}

// DropCookies removes from a request's header the cookies that drop names,
// and leaves the bytes of the others as they came. It reports whether any
// cookie is left.
func DropCookies(h http.Header, drop func(name string) bool) (left bool) {
	lines := h["Cookie"]
	var out []string
	for _, line := range lines {
		kept := dropLine(line, drop)
		if kept != "" {
			out = append(out, kept)
		}
	}
	if len(out) == 0 {
		delete(h, "Cookie")
		return false
	}
	h["Cookie"] = out // a new slice: h may be a shallow clone
	return true
}

func dropLine(line string, drop func(name string) bool) string {
	dropped := false
	var kept []string
	for pair := range strings.SplitSeq(line, ";") {
		pair = textproto.TrimString(pair)
		if pair == "" {
			continue
		}
		name, _, _ := strings.Cut(pair, "=")
		if drop(textproto.TrimString(name)) {
			dropped = true
			continue
		}
		kept = append(kept, pair)
	}
	if !dropped && len(kept) > 0 {
		return line
	}
	return strings.Join(kept, "; ")
}
