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

// maxBytes is how many bytes all readings of a path may hold: rules look at each. A
// path of up to 2,000 bytes never has more, and one of 8,000 only by escapes of
// escapes together with parameters or a leading authority.
const maxBytes = 64 << 10

// Readings are the ways in which servers may understand one path. There are at
// most 32, each no longer than the path, and each is made by one pass over it. A path
// whose readings hold more than 64 KiB together is refused.
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
	var rd reader
	stage := sent
	for depth := 0; ; depth++ {
		refusal := forbidden(stage, depth == 0)
		if refusal == "" {
			refusal = rd.addStage(stage)
		}
		next, decoded, broken := "", false, false
		if refusal == "" {
			next, decoded, broken = unescape(stage)
		}
		switch {
		case broken && depth == 0:
			refusal = "holds a broken percent-escape"
		case decoded && depth == maxDecodes:
			refusal = "is percent-encoded too often"
		}
		if refusal != "" {
			return Readings{Refusal: refusal}
		}
		if !decoded {
			break
		}
		stage = next
	}
	return Readings{
		Canonical: rd.canonical,
		Others:    slices.DeleteFunc(rd.found, func(s string) bool { return s == rd.canonical }),
	}
}

// A reader collects the readings of one path.
type reader struct {
	found     []string
	bytes     int    // of found
	cut       string // the latest stage without parameters
	canonical string // cut, merged and resolved
}

// addStage adds what servers make of one stage of decoding, of which canonical is
// what is left without parameters, merged and resolved.
func (rd *reader) addStage(s string) (refusal string) {
	cut := cutParams(s)
	if cut != s {
		if _, refusal = rd.add(s); refusal != "" {
			return refusal
		}
	}
	if cut == rd.cut {
		return "" // what was escaped is cut
	}
	rd.cut = cut
	rd.canonical, refusal = rd.add(cut)
	return refusal
}

// add adds s, and s resolved, which it returns, and both without the authority, if
// there is one.
func (rd *reader) add(s string) (resolved, refusal string) {
	path, ok := cutAuthority(s)
	if !ok {
		if resolved, ok = Resolve(s); !ok {
			return "", aboveRoot
		}
		return resolved, rd.keep(s, resolved)
	}
	below, ok := Resolve(path)
	if !ok {
		return "", aboveRoot
	}
	if resolved, ok = resolveAbove(s, path, below); !ok {
		return "", aboveRoot
	}
	return resolved, rd.keep(s, resolved, path, below)
}

const aboveRoot = "leads above the root"

// resolveAbove is [Resolve] of s, which goes on behind its authority with path, which
// resolves to below.
func resolveAbove(s, path, below string) (resolved string, ok bool) {
	authority, ok := strings.CutSuffix(s[2:], path)
	switch {
	case !ok || authority == "..":
		return Resolve(s)
	case authority == "" || authority == ".":
		return below, true
	}
	return "/" + authority + below, true
}

// keep adds the readings that are new.
func (rd *reader) keep(readings ...string) (refusal string) {
	for _, s := range readings {
		if slices.Contains(rd.found, s) {
			continue
		}
		if rd.bytes += len(s); rd.bytes > maxBytes {
			return "can be read in too many ways for its length"
		}
		rd.found = append(rd.found, s)
	}
	return ""
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
	n := strings.IndexByte(s, ';')
	if n < 0 {
		return s
	}
	b := make([]byte, len(s))
	copy(b, s[:n])
	params := true
	for i := n; i < len(s); i++ {
		c := s[i]
		if c == '/' {
			params = false
		} else if c == ';' {
			params = true
		}
		if !params {
			b[n] = c
			n++
		}
	}
	return string(b[:n])
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
	out := make([]byte, len(s)+2)
	out[0] = '/'
	n, start := 1, 1 // of out: how much there is, and where its last segment begins
	for i := 0; i <= len(s); i++ {
		if i < len(s) && s[i] != '/' {
			out[n] = s[i]
			n++
			continue
		}
		switch length := n - start; {
		case length == 0:
		case length == 1 && out[start] == '.':
			n = start
		case length == 2 && out[start] == '.' && out[start+1] == '.':
			if start == 1 {
				return "", false
			}
			start = bytes.LastIndexByte(out[:start-1], '/') + 1
			n = start
		case i < len(s):
			out[n] = '/'
			n++
			start = n
		}
	}
	return string(out[:n]), true
}

// isResolved reports whether Resolve returns s, which most are of what is read in
// several ways for its escapes: it then costs no copy.
func isResolved(s string) bool {
	if s == "" || s[0] != '/' {
		return false
	}
	for i := 0; i < len(s)-1; i++ {
		if s[i] != '/' || s[i+1] != '/' && s[i+1] != '.' {
			continue
		}
		segment, _, _ := strings.Cut(s[i+1:min(i+4, len(s))], "/")
		if segment == "" || segment == "." || segment == ".." {
			return false
		}
	}
	return true
}
