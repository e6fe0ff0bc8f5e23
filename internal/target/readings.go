package target

import (
	"bytes"
	"slices"
	"strings"
)

// maxDecodes is how often a path is percent-decoded. Proxies and frameworks
// that decode twice exist; what still holds an escape after three times hides
// something.
const maxDecodes = 3

// Readings are the ways in which servers may understand one path. There are at
// most 32, each no longer than the path, and each is made by one pass over it.
type Readings struct {
	// Refusal says why the path has no honest reading; then nothing else is
	// set.
	Refusal string
	// Canonical is decoded, without parameters, merged and resolved: the path
	// that the rules are asked about, and that is forwarded where readings
	// disagree.
	Canonical string
	// Others are all further readings, merged and resolved or not. A plain
	// path has none.
	Others []string
}

// All yields every reading until yield returns false.
func (rd *Readings) All(yield func(string) bool) {
	if !yield(rd.Canonical) {
		return
	}
	for _, s := range rd.Others {
		if !yield(s) {
			return
		}
	}
}

// Read returns the readings of a path as sent.
func Read(sent string) Readings {
	if !strings.HasPrefix(sent, "/") {
		return Readings{Refusal: "does not begin with a slash"}
	}
	if IsPlain(sent) {
		return Readings{Canonical: sent}
	}
	var rd Readings
	var canonical string
	stage := sent
	for depth := 0; ; depth++ {
		if rd.Refusal = forbidden(stage, depth == 0); rd.Refusal != "" {
			break
		}
		if canonical, rd.Refusal = rd.addStage(stage); rd.Refusal != "" {
			break
		}
		next, decoded, broken := unescape(stage)
		if broken && depth == 0 {
			rd.Refusal = "holds a broken percent-escape"
			break
		}
		if !decoded {
			break
		}
		if depth == maxDecodes {
			rd.Refusal = "is percent-encoded too often"
			break
		}
		stage = next
	}
	if rd.Refusal != "" {
		return Readings{Refusal: rd.Refusal}
	}
	rd.Canonical = canonical
	rd.Others = slices.DeleteFunc(rd.Others, func(s string) bool { return s == canonical })
	return rd
}

// addStage adds what servers make of one stage of decoding, and returns what is
// left of it without parameters, merged and resolved.
func (rd *Readings) addStage(s string) (canonical, refusal string) {
	kept := [2]string{s, cutParams(s)}
	for i, s := range kept {
		if i == 1 && s == kept[0] {
			break
		}
		if canonical, refusal = rd.add(s); refusal != "" {
			return "", refusal
		}
		if path, ok := cutAuthority(s); ok {
			if _, refusal = rd.add(path); refusal != "" {
				return "", refusal
			}
		}
	}
	return canonical, ""
}

// add adds s, and s resolved, which it returns.
func (rd *Readings) add(s string) (resolved, refusal string) {
	resolved, ok := Resolve(s)
	if !ok {
		return "", "leads above the root"
	}
	for _, reading := range [...]string{s, resolved} {
		if !slices.Contains(rd.Others, reading) {
			rd.Others = append(rd.Others, reading)
		}
	}
	return resolved, ""
}

// plainByte marks the bytes that mean themselves to every server.
var plainByte = marks("/-_.~!$&'()*+,=:@0123456789" +
	"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")

// IsPlain reports whether path can be read in one way only: nothing to decode,
// merge, cut or resolve.
func IsPlain(path string) bool {
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
		c := s[i]
		if !suspect[c] {
			continue
		}
		switch {
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

// suspect marks the bytes at which forbidden looks twice.
var suspect = func() (t [256]bool) {
	for c := range t {
		t[c] = c < 0x20 || c == 0x7f || c == '\\' || c == '#' || c >= 0xc0
	}
	return t
}()

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

// cutParams removes from each segment what begins with a semicolon
// (RFC 3986, section 3.3), as Java servers do.
func cutParams(s string) string {
	if strings.IndexByte(s, ';') < 0 {
		return s
	}
	b := make([]byte, 0, len(s))
	params := false
	for i := range len(s) {
		if c := s[i]; c == '/' {
			params = false
		} else if c == ';' {
			params = true
		}
		if !params {
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

// Resolve merges slashes and resolves dot segments (RFC 3986, section 5.2.4),
// in one pass: every byte is taken off as often as it was put on. ok is false if
// they lead above the root.
func Resolve(s string) (path string, ok bool) {
	if isResolved(s) {
		return s, true
	}
	out := make([]byte, 0, len(s)+1)
	dir := true // whether the path ends in a slash
	for rest := s; rest != ""; {
		segment := rest
		if i := strings.IndexByte(rest, '/'); i >= 0 {
			segment, rest = rest[:i], rest[i+1:]
			dir = true
		} else {
			rest = ""
			dir = false
		}
		switch segment {
		case "", ".":
			dir = true
		case "..":
			if len(out) == 0 {
				return "", false
			}
			out = out[:bytes.LastIndexByte(out, '/')]
			dir = true
		default:
			out = append(out, '/')
			out = append(out, segment...)
		}
	}
	if dir || len(out) == 0 {
		out = append(out, '/')
	}
	return string(out), true
}

// isResolved reports whether Resolve returns s, which most are of what is read in
// several ways for its escapes: it then costs no copy.
func isResolved(s string) bool {
	rest, ok := strings.CutPrefix(s, "/")
	for more := true; ok && more; {
		var segment string
		segment, rest, more = strings.Cut(rest, "/")
		ok = segment != "." && segment != ".." && (segment != "" || !more)
	}
	return ok
}
