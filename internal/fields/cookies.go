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
	out := make([]string, 0, len(lines))
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

// dropLine goes over the line once, and writes only if something is dropped.
func dropLine(line string, drop func(name string) bool) string {
	var out []byte // what is kept, once something was dropped
	dropped, kept := false, false
	for rest := line; rest != ""; {
		start := len(line) - len(rest)
		pair := rest
		if i := strings.IndexByte(rest, ';'); i >= 0 {
			pair, rest = rest[:i], rest[i+1:]
		} else {
			rest = ""
		}
		if pair = textproto.TrimString(pair); pair == "" {
			continue
		}
		name, _, _ := strings.Cut(pair, "=")
		if drop(textproto.TrimString(name)) {
			if !dropped {
				dropped = true
				out = appendPairs(make([]byte, 0, len(line)), line[:start])
			}
			continue
		}
		kept = true
		if dropped {
			out = appendPair(out, pair)
		}
	}
	switch {
	case !kept:
		return ""
	case !dropped:
		return line
	}
	return string(out)
}

// appendPairs appends the pairs of a line.
func appendPairs(out []byte, line string) []byte {
	for pair := range strings.SplitSeq(line, ";") {
		if pair = textproto.TrimString(pair); pair != "" {
			out = appendPair(out, pair)
		}
	}
	return out
}

func appendPair(out []byte, pair string) []byte {
	if len(out) > 0 {
		out = append(out, "; "...)
	}
	return append(out, pair...)
}
