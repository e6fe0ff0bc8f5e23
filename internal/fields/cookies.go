package fields

import (
	"iter"
	"net/http"
	"net/textproto"
	"strings"
)

// Cookies yields the cookies of a request's header as they came: the name, and
// the whole pair. It also yields those that [http.Request.Cookies] leaves out
// because it does not like their value, such as JSON, or their number: a backend
// may like them, and what a backend sees must not be overlooked.
func Cookies(h http.Header) iter.Seq2[string, string] {
	return func(yield func(name, pair string) bool) {
		for _, line := range h["Cookie"] {
			for line != "" {
				var name, pair string
				if name, pair, line = cutPair(line); pair != "" && !yield(name, pair) {
					return
				}
			}
		}
	}
}

// CookieNames yields the names of the cookies in one line, as [Cookies] does.
func CookieNames(line string) iter.Seq[string] {
	return func(yield func(name string) bool) {
		for line != "" {
			var name, pair string
			if name, pair, line = cutPair(line); pair != "" && !yield(name) {
				return
			}
		}
	}
}

// CookieValue returns the value of a pair that [Cookies] yields, as it was sent,
// and without the quotes in which it may stand (RFC 6265, section 4.1.1).
//
// PHP reads another one: to the byte, the quotes and spaces too, and decoded. Who
// wants to know what PHP sees cuts the pair.
func CookieValue(pair string) (sent, plain string) {
	_, sent, _ = strings.Cut(pair, "=")
	sent = textproto.TrimString(sent)
	if n := len(sent); n > 1 && sent[0] == '"' && sent[n-1] == '"' {
		return sent, sent[1 : n-1]
	}
	return sent, sent
}

// Cookie returns the value of the last cookie called name, without quotes, and how
// many have that name. It is for cookies that this tier has set: what has no equals
// sign is a value without a name to the browsers that send it (RFC 6265bis,
// section 5.6), although backends take it for a name, and [Cookies] with them.
func Cookie(h http.Header, name string) (value string, n int) {
	for sent, pair := range Cookies(h) {
		if sent == name && len(pair) > len(name) {
			_, value = CookieValue(pair)
			n++
		}
	}
	return value, n
}

// cutPair cuts the first pair off a line, and returns its name with it. Between
// two semicolons there may be none.
func cutPair(line string) (name, pair, rest string) {
	if i := strings.IndexByte(line, ';'); i >= 0 {
		line, rest = line[:i], line[i+1:]
	}
	pair = textproto.TrimString(line)
	name = pair
	if i := strings.IndexByte(pair, '='); i >= 0 {
		name = textproto.TrimString(pair[:i])
	}
	return name, pair, rest
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
		var name, pair string
		if name, pair, rest = cutPair(rest); pair == "" {
			continue
		}
		if drop(name) {
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
	for line != "" {
		var pair string
		if _, pair, line = cutPair(line); pair != "" {
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
