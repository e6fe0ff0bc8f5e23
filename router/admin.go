package router

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
	"unsafe"

	"github.com/foretier/foretier/internal/fields"
	"github.com/foretier/foretier/internal/target"
	"github.com/foretier/foretier/router/internal/proof"
)

// An AdminMatcher matches requests that any server could take for one below
// its prefixes. See [Admin].
type AdminMatcher struct {
	noParams
	prefixes []string
	segments [][]string // of prefixes, in lower case
	except   []string
}

// Admin matches if any plausible reading of the path lies at or below one of
// the prefixes, in any case of letters: see the package's comment. A segment
// lies under a prefix's also if something other than a letter, digit, hyphen
// or underscore follows ("/admin;x", "/admin.bak", but not "/administrator"), or
// if blanks stand before it ("/%20admin").
//
// Requests that match although no server reads them so cost the
// authoritative server a little load; one that does not match although a
// server reads it so is the bug that this matcher is there to prevent. A path
// without an honest reading matches too, so a pool that refuses admin refuses
// it, and so does one that names more than 32 scripts ("/a.php/b.php/...").
//
// As a pool's Refuse it judges both what the client sent and what the request
// has become.
func Admin(prefixes ...string) *AdminMatcher {
	m := &AdminMatcher{prefixes: slices.Clone(prefixes)}
	for _, p := range prefixes {
		m.segments = append(m.segments, strings.FieldsFunc(strings.ToLower(p), func(c rune) bool { return c == '/' }))
	}
	return m
}

// Except returns a matcher that lets paths through which belong to visitors,
// such as "/wp-admin/admin-ajax.php". A request is excepted only if each of its
// readings that lies under a prefix is exactly one of the paths, or lies
// below one that ends in "/*".
func (m *AdminMatcher) Except(paths ...string) *AdminMatcher {
	c := *m
	c.except = slices.Concat(m.except, paths)
	return &c
}

// Match implements [Matcher].
func (m *AdminMatcher) Match(r *http.Request) bool {
	now := readRequest(r)
	if m.matchReadings(&now.Readings) {
		return true
	}
	if r.RequestURI != "" {
		// What was rewritten since it came is judged both ways.
		raw, refusal := targetPath(r.RequestURI)
		if refusal != "" {
			return true
		}
		if !sameTarget(r, raw) {
			if sent := read(raw); m.matchReadings(&sent.Readings) {
				return true
			}
		}
	}
	// Some handlers look at RawPath even where it contradicts Path.
	if raw := r.URL.RawPath; raw != "" && raw != target.Sent(r.URL) {
		stale := read(raw)
		return m.matchReadings(&stale.Readings)
	}
	return false
}

func (m *AdminMatcher) match(v *view) bool {
	if len(v.rd.Others) == 0 {
		return m.matchReadings(&v.rd.Readings)
	}
	// All readings are gone through once, and not once for each of them.
	return v.rd.once(unsafe.Pointer(m), func() bool { return m.matchReadings(&v.rd.Readings) })
}

func (m *AdminMatcher) matchReadings(rd *target.Readings) bool {
	if rd.Refusal != "" {
		return true
	}
	for path := range rd.All {
		if m.under(path) && !m.excepted(path) {
			return true
		}
	}
	return false
}

// under reports whether path, or what follows a *.php segment in it, lies at
// or below a prefix.
func (m *AdminMatcher) under(path string) bool {
	scripts := 0
	for more := true; more; path, more = behindScript(path) {
		if m.startsUnder(path) || scripts > maxScripts {
			return true
		}
		scripts++
	}
	return false
}

// maxScripts is how many scripts a path may name. No server reads a longer one in
// earnest, and what stands behind each is looked at, in every reading.
const maxScripts = 32

// behindScript returns what stands behind the first segment of path that a server
// may run as PHP, which gets the rest.
func behindScript(path string) (rest string, ok bool) {
	const script = ".php"
	dot := strings.IndexByte(path, '.')
	if dot < 0 {
		return "", false // as nearly always
	}
	path = path[dot:]
	// Four bytes are looked at by their last, which says how far off the next script
	// is at least: a hostile path may be all dots, and is read in many ways.
	for i := 0; i+len(script) <= len(path); {
		skip := scriptSkips[path[i+len(script)-1]]
		if path[i] == '.' && isSegment(path[i:], script) {
			_, rest, ok = strings.Cut(path[i+len(script):], "/")
			return rest, ok
		}
		i += int(skip)
	}
	return "", false
}

// scriptSkips is how far on a script may end at the soonest behind a byte: four bytes
// but where it is one of .php itself.
var scriptSkips = func() (t [256]uint8) {
	for c := range t {
		t[c] = 4
	}
	t['.'] = 3
	t['p'], t['P'] = 2, 2
	t['h'], t['H'] = 1, 1
	return t
}()

// startsUnder reports whether the first segments of path are those of a prefix.
func (m *AdminMatcher) startsUnder(path string) bool {
	bare := path
	if !starts(path) {
		bare = trimBlanks(path, "") // once for all prefixes: there may be many blanks
	}
	for _, want := range m.segments {
		rest, ok := bare, true
		if len(want) > 0 && want[0][0] == '+' {
			rest = path
		}
		for _, w := range want {
			// What is no slash in w ends a segment no sooner than the path.
			if !starts(rest) {
				rest = trimBlanks(rest, w)
			}
			if ok = rest != "" && rest[0]|0x20 == w[0]|0x20 && isSegment(rest, w); !ok {
				break
			}
			_, rest, _ = strings.Cut(rest[len(w):], "/")
		}
		if ok {
			return true
		}
	}
	return false
}

// starts reports whether nothing stands before the first segment of path, as a
// rule: a hostile path may be asked that a thousand times.
func starts(path string) bool {
	return path != "" && path[0] < utf8.RuneSelf && path[0] != '/' && path[0] != ' ' && path[0] != '+'
}

// trimBlanks removes slashes and blanks that stand before want, which may begin
// with a blank itself: some file systems and frameworks trim segments.
func trimBlanks(path, want string) string {
	for {
		path = strings.TrimLeft(path, "/")
		n := blank(path)
		if n == 0 || want != "" && len(path) >= len(want) && fields.EqualFold(path[:len(want)], want) {
			return path
		}
		path = path[n:]
	}
}

// blank returns how long the blank is with which s begins, 0 if it begins with
// none. A plus is one to servers that decode a path like a form.
func blank(s string) int {
	if s == "" {
		return 0
	}
	if c := s[0]; c < utf8.RuneSelf {
		if c == ' ' || c == '+' {
			return 1
		}
		return 0
	}
	r, n := utf8.DecodeRuneInString(s)
	if r == utf8.RuneError && n == 1 {
		r = rune(s[0]) // Latin-1
	}
	if unicode.IsSpace(r) || unicode.Is(unicode.Cf, r) { // of no width, as a byte order mark is
		return n
	}
	return 0
}

// isSegment reports whether the first segment of a path is want, which is in lower
// case, or goes on with what is no part of a word.
func isSegment(segment, want string) bool {
	if len(segment) < len(want) || !fields.EqualFold(segment[:len(want)], want) {
		return false
	}
	rest := segment[len(want):]
	// An escape is judged where it is decoded.
	return rest == "" || !isWord(rest[0]) && !target.IsEscape(rest)
}

func isWord(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '_'
}

func (m *AdminMatcher) excepted(path string) bool {
	for _, e := range m.except {
		if dir, ok := strings.CutSuffix(e, "*"); ok && strings.HasSuffix(dir, "/") {
			// A script below it could read the rest as its own path.
			if rest, ok := strings.CutPrefix(path, dir); ok && !m.under(rest) {
				return true
			}
		} else if path == e {
			return true
		}
	}
	return false
}

// String implements [Matcher].
func (m *AdminMatcher) String() string {
	s := list("Admin", m.prefixes)
	if len(m.except) > 0 {
		s += list(".Except", m.except)
	}
	return s
}

func (m *AdminMatcher) check() error {
	for i, p := range m.prefixes {
		if !strings.HasPrefix(p, "/") || len(m.segments[i]) == 0 || !target.IsPlain(p) {
			return fmt.Errorf("Admin(%q): want a plain path below /, such as /admin", p)
		}
	}
	for _, e := range m.except {
		if !target.IsPlain(e) || !m.under(e) {
			return fmt.Errorf("Except(%q) is not below a prefix of Admin", e)
		}
	}
	return notEmpty("Admin", len(m.prefixes))
}

func (m *AdminMatcher) tell(d *proof.Space) {
	d.AddPrefixes(m.prefixes...)
	for _, e := range m.except {
		d.AddPattern(exception(e))
	}
}

func (m *AdminMatcher) says(d *proof.Space, class *proof.Class) proof.Formula {
	if class == nil {
		return d.Maybe(m.String())
	}
	return proof.Constant(m.matchReadings(&class.Readings))
}

// An exception is a path of [AdminMatcher.Except], to a prover.
type exception string

func (e exception) String() string { return "except " + string(e) }

func (e exception) Paths(word string) []string {
	below := strings.TrimSuffix(string(e), "/*") + "/" + word
	return append(fill(string(e), word), below)
}

func (e exception) Filled(segments, word string) string { return fillWith(string(e), segments, word) }
func (e exception) Single() bool                        { return true }
func (e exception) Covers(proof.Pattern) bool           { return false }
