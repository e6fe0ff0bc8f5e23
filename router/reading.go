package router

import (
	"net/http"
	"slices"
	"strings"
)

// maxDecodes is how often a path is percent-decoded. Proxies and frameworks
// that decode twice exist; what still holds an escape after three times hides
// something.
const maxDecodes = 3

// readings are the ways in which servers may understand one request path.
type readings struct {
	// refusal says why the path has no honest reading; then nothing else is
	// set.
	refusal string
	// canonical is decoded, without parameters, merged and resolved: the path
	// that the rules are asked about, and that is forwarded where readings
	// disagree.
	canonical string
	// others are all further readings, merged and resolved or not. A plain
	// path has none.
	others []string
	// judged is what admin matchers have said of all of them, so that a hostile
	// path is gone through once and not once for each reading.
	judged []verdict
}

type verdict struct {
	m     *AdminMatcher
	admin bool
}

// All yields every reading until yield returns false.
func (rd *readings) All(yield func(string) bool) {
	if !yield(rd.canonical) {
		return
	}
	for _, s := range rd.others {
		if !yield(s) {
			return
		}
	}
}

// readRequest returns the readings of what r asks for: the target as the client
// sent it as long as r.URL still says the same, else what r.URL says, which is
// what a rewritten or outgoing request is sent with.
func readRequest(r *http.Request) readings {
	raw, refusal := targetPath(r.RequestURI)
	if r.RequestURI == "" || !sameTarget(r, raw) {
		return readURL(r)
	}
	if refusal != "" {
		return readings{refusal: refusal}
	}
	return read(raw)
}

// readURL returns the readings of r.URL alone.
func readURL(r *http.Request) readings {
	if r.URL.Opaque != "" {
		return readings{refusal: "the URL is opaque"}
	}
	if strings.Contains(r.URL.RawQuery, "#") || r.URL.Fragment != "" {
		return readings{refusal: "holds a fragment"}
	}
	path := r.URL.EscapedPath()
	if path == "" {
		path = "/"
	}
	return read(path)
}

// sameTarget reports whether raw, the path of r's request line, is what r.URL
// holds.
func sameTarget(r *http.Request, raw string) bool {
	if r.URL.Opaque != "" || r.URL.Fragment != "" || strings.Contains(r.URL.RawQuery, "#") {
		return false
	}
	return raw == r.URL.Path && r.URL.RawPath == "" || raw == r.URL.RawPath ||
		raw == "/" && r.URL.Path == "" || raw == r.URL.EscapedPath()
}

// targetPath takes the path out of a request target in origin form or, with
// an http or https scheme, in absolute form (RFC 9112, section 3.2), as sent.
func targetPath(target string) (path, refusal string) {
	if strings.Contains(target, "#") {
		return "", "holds a fragment"
	}
	path, _, _ = strings.Cut(target, "?")
	if strings.HasPrefix(path, "/") {
		return path, ""
	}
	scheme, rest, ok := strings.Cut(path, "://")
	if !ok || !strings.EqualFold(scheme, "http") && !strings.EqualFold(scheme, "https") {
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

// read returns the readings of one raw path.
func read(raw string) readings {
	if !strings.HasPrefix(raw, "/") {
		return readings{refusal: "does not begin with a slash"}
	}
	if isPlain(raw) {
		return readings{canonical: raw}
	}
	var rd readings
	stage := raw
	for depth := 0; ; depth++ {
		if rd.refusal = forbidden(stage, depth == 0); rd.refusal != "" {
			break
		}
		if rd.refusal = rd.addStage(stage); rd.refusal != "" {
			break
		}
		next, decoded, broken := unescape(stage)
		if broken && depth == 0 {
			rd.refusal = "holds a broken percent-escape"
			break
		}
		if !decoded {
			break
		}
		if depth == maxDecodes {
			rd.refusal = "is percent-encoded too often"
			break
		}
		stage = next
	}
	if rd.refusal != "" {
		return readings{refusal: rd.refusal}
	}
	canonical, _ := resolve(cutParams(stage))
	rd.canonical = canonical
	rd.others = slices.DeleteFunc(rd.others, func(s string) bool { return s == canonical })
	return rd
}

// addStage adds what servers make of one stage of decoding.
func (rd *readings) addStage(s string) (refusal string) {
	kept := [2]string{s, cutParams(s)}
	for i, s := range kept {
		if i == 1 && s == kept[0] {
			break
		}
		if refusal = rd.add(s); refusal != "" {
			return refusal
		}
		if path, ok := cutAuthority(s); ok {
			if refusal = rd.add(path); refusal != "" {
				return refusal
			}
		}
	}
	return ""
}

// add adds s, and s resolved.
func (rd *readings) add(s string) (refusal string) {
	resolved, ok := resolve(s)
	if !ok {
		return "leads above the root"
	}
	for _, s := range [...]string{s, resolved} {
		if !slices.Contains(rd.others, s) {
			rd.others = append(rd.others, s)
		}
	}
	return ""
}

// plainByte marks the bytes that mean themselves to every server.
var plainByte = func() (t [256]bool) {
	for _, c := range []byte("/-_.~!$&'()*+,=:@0123456789" +
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ") {
		t[c] = true
	}
	return
}()

// isPlain reports whether path can be read in one way only: nothing to decode,
// merge, cut or resolve.
func isPlain(path string) bool {
	for i := range len(path) {
		c := path[i]
		if !plainByte[c] {
			return false
		}
		if c == '/' && i+1 < len(path) && (path[i+1] == '/' || path[i+1] == '.') {
			return false
		}
	}
	return true
}

// forbidden says what makes s unfit for any server. raw is true for what came
// over the wire, where a # cannot be part of a path.
func forbidden(s string, raw bool) string {
	for i := range len(s) {
		switch c := s[i]; {
		case c < 0x20 || c == 0x7f:
			return "holds a control byte"
		case c == '\\':
			return "holds a backslash"
		case c == '#' && raw:
			return "holds a fragment"
		case c >= 0xc0 && overlong(s[i:]):
			return "holds overlong UTF-8"
		}
	}
	return ""
}

// overlong reports whether s begins with a UTF-8 sequence that is longer than
// need be, which lax decoders turn into the dot, slash or letter it hides
// (RFC 3629, section 10). A lone byte, as in Latin-1 names, is none; a dot or
// slash behind 0xC0 is, because decoders that do not look at the second
// byte's upper bits take it as a continuation.
func overlong(s string) bool {
	if len(s) < 2 {
		return false
	}
	next := s[1]
	switch s[0] {
	case 0xc0, 0xc1:
		return next&0xc0 == 0x80 || next == '.' || next == '/'
	case 0xe0:
		return next >= 0x80 && next < 0xa0
	case 0xf0:
		return next >= 0x80 && next < 0x90
	case 0xf8:
		return next >= 0x80 && next < 0x88
	case 0xfc:
		return next >= 0x80 && next < 0x84
	}
	return false
}

// unescape decodes the percent-escapes of s once. What is no escape stays;
// broken reports that there was such.
func unescape(s string) (out string, decoded, broken bool) {
	if !strings.Contains(s, "%") {
		return s, false, false
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] != '%' {
			b = append(b, s[i])
			continue
		}
		if !isEscape(s[i:]) {
			broken = true
			b = append(b, s[i])
			continue
		}
		decoded = true
		b = append(b, byte(unhex(s[i+1])<<4|unhex(s[i+2])))
		i += 2
	}
	return string(b), decoded, broken
}

// isEscape reports whether s begins with a percent-escape.
func isEscape(s string) bool {
	return len(s) >= 3 && s[0] == '%' && unhex(s[1]) >= 0 && unhex(s[2]) >= 0
}

func unhex(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c && c <= 'f':
		return int(c-'a') + 10
	case 'A' <= c && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}

// cutParams removes from each segment what begins with a semicolon
// (RFC 3986, section 3.3), as Java servers do.
func cutParams(s string) string {
	if !strings.Contains(s, ";") {
		return s
	}
	b := make([]byte, 0, len(s))
	inParams := false
	for i := range len(s) {
		switch {
		case s[i] == '/':
			inParams = false
		case s[i] == ';':
			inParams = true
		}
		if !inParams {
			b = append(b, s[i])
		}
	}
	return string(b)
}

// cutAuthority removes a leading //authority, which servers that parse the
// target as a URL reference (RFC 3986, section 4.2) take for a host.
func cutAuthority(s string) (path string, ok bool) {
	rest, ok := strings.CutPrefix(s, "//")
	if !ok {
		return s, false
	}
	i := strings.IndexByte(rest, '/')
	if i < 0 {
		return "/", true
	}
	return rest[i:], true
}

// resolve merges slashes and resolves dot segments (RFC 3986, section 5.2.4).
// ok is false if they lead above the root.
func resolve(s string) (path string, ok bool) {
	out := make([]byte, 0, len(s)+1)
	dir := true // whether the path ends in a slash
	for segment := range strings.SplitSeq(s, "/") {
		switch segment {
		case "", ".":
			dir = true
		case "..":
			if len(out) == 0 {
				return "", false
			}
			out = out[:strings.LastIndexByte(string(out), '/')]
			dir = true
		default:
			out = append(out, '/')
			out = append(out, segment...)
			dir = false
		}
	}
	if dir || len(out) == 0 {
		out = append(out, '/')
	}
	return string(out), true
}
