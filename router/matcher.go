package router

import (
	"fmt"
	"net/http"
	"net/netip"
	"net/textproto"
	"reflect"
	"slices"
	"strings"
	"unsafe"

	"github.com/foretier/foretier/internal/fields"
	"github.com/foretier/foretier/internal/given"
	"github.com/foretier/foretier/internal/transit"
)

// A Matcher is one condition on a request, as data. Those of this package are
// all there are: what they cannot say, [Test] says with a function. Matchers
// are immutable and safe for concurrent use.
type Matcher interface {
	// Match reports whether the request meets the condition. It fits the
	// Refuse option of a pool, where it judges the outgoing request.
	Match(*http.Request) bool
	// String is the condition in the words of this package.
	String() string

	match(*view) bool
	check() error         // why it can never be used in a rule
	parameters() []string // the names of those that every request of it has
	bind(v *view) *params // what these are in v, which it matches, or nil

	tell(*space)                     // adds what it tells apart
	says(*space, *pathClass) formula // what it says of the requests of a class, or of any path if that is nil
}

// noParams is embedded by matchers without parameters.
type noParams struct{}

func (noParams) parameters() []string { return nil }
func (noParams) bind(*view) *params   { return nil }

// A view is a request with one of its readings chosen.
type view struct {
	r    *http.Request
	rd   *readings
	path string
}

// matchRequest judges r on its own, outside of a router: by its canonical path.
// A path without an honest reading matches nothing that looks at the path.
func matchRequest(m Matcher, r *http.Request) bool {
	rd := readRequest(r)
	return m.match(&view{r: r, rd: &rd, path: rd.Canonical})
}

// list renders arguments for String.
func list[T any](name string, args []T) string {
	var b strings.Builder
	b.WriteString(name)
	b.WriteByte('(')
	for i, a := range args {
		if i > 0 {
			b.WriteString(", ")
		}
		switch a := any(a).(type) {
		case string:
			fmt.Fprintf(&b, "%q", a)
		default:
			fmt.Fprint(&b, a)
		}
	}
	b.WriteByte(')')
	return b.String()
}

type methodMatcher struct {
	noParams
	methods []string
}

// Method matches any of the methods, which are case-sensitive (RFC 9110,
// section 9.1). GET includes HEAD.
func Method(methods ...string) Matcher { return methodMatcher{methods: slices.Clone(methods)} }

func (m methodMatcher) match(v *view) bool {
	for _, method := range m.methods {
		if v.r.Method == method || method == http.MethodGet && (v.r.Method == http.MethodHead || v.r.Method == "") {
			return true
		}
	}
	return false
}

func (m methodMatcher) Match(r *http.Request) bool { return matchRequest(m, r) }
func (m methodMatcher) String() string             { return list("Method", m.methods) }
func (m methodMatcher) check() error {
	for _, method := range m.methods {
		if !fields.Token(method) {
			return fmt.Errorf("Method(%q) is no method: want each by itself, such as Method(%q, %q)", method, "GET", "POST")
		}
		if upper := strings.ToUpper(method); upper != method && slices.Contains(usualMethods, upper) {
			return fmt.Errorf("Method(%q) never matches, methods are case-sensitive: want %q", method, upper)
		}
	}
	return notEmpty("Method", len(m.methods))
}

// usualMethods are those that nobody means in another case.
var usualMethods = []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE",
	"PURGE", "BAN", "REFRESH", "QUERY", "PROPFIND", "PROPPATCH", "MKCOL", "COPY", "MOVE", "LOCK", "UNLOCK", "REPORT", "SEARCH"}

type hostMatcher struct {
	noParams
	hosts []string
}

// Host matches the host that was asked for, in any case, without port and
// trailing dot. "*.shop.example" matches every host below shop.example, but
// not shop.example itself.
func Host(hosts ...string) Matcher {
	m := hostMatcher{hosts: make([]string, len(hosts))}
	for i, h := range hosts {
		m.hosts[i] = strings.ToLower(strings.TrimSuffix(h, "."))
		if addr, err := netip.ParseAddr(strings.Trim(h, "[]")); err == nil && addr.Is6() {
			m.hosts[i] = "[" + addr.String() + "]"
		}
	}
	return m
}

func (m hostMatcher) match(v *view) bool {
	host := hostname(v.r.Host)
	for _, h := range m.hosts {
		if suffix, ok := strings.CutPrefix(h, "*"); ok {
			if len(host) > len(suffix) && strings.HasSuffix(host, suffix) {
				return true
			}
		} else if host == h {
			return true
		}
	}
	return false
}

func (m hostMatcher) Match(r *http.Request) bool { return matchRequest(m, r) }
func (m hostMatcher) String() string             { return list("Host", m.hosts) }
func (m hostMatcher) check() error {
	for _, h := range m.hosts {
		name := strings.TrimPrefix(h, "*.")
		switch {
		case strings.HasPrefix(name, "[") && hostname(name) == name:
		case name == "" || strings.ContainsAny(name, "*/ ") || hostname(name) != name || strings.HasPrefix(name, ".") || strings.Contains(name, ".."):
			return fmt.Errorf("Host(%q) is no host: want a name without scheme and port, such as shop.example, or *.shop.example", h)
		case strings.ContainsFunc(name, func(c rune) bool { return c >= 0x80 }):
			return fmt.Errorf("Host(%q) never matches: want the xn-- name that browsers send", h)
		case strings.ContainsFunc(name, func(c rune) bool { return !isWord(byte(c)) && c != '.' }):
			return fmt.Errorf("Host(%q) is no host: want letters, digits, hyphens and dots", h)
		}
	}
	return notEmpty("Host", len(m.hosts))
}

// hostname returns host in lower case, without port and trailing dot.
func hostname(host string) string {
	if i := strings.LastIndexByte(host, ':'); i >= 0 && strings.IndexByte(host[i:], ']') < 0 &&
		(strings.IndexByte(host, ':') == i || strings.HasPrefix(host, "[")) {
		host = host[:i]
	}
	if inner, ok := strings.CutPrefix(host, "["); ok {
		if addr, err := netip.ParseAddr(strings.TrimSuffix(inner, "]")); err == nil {
			return "[" + addr.String() + "]" // RFC 5952: there are many ways to write one
		}
	}
	return strings.ToLower(strings.TrimSuffix(host, "."))
}

type headerMatcher struct {
	noParams
	name   string
	values []string
}

// Header matches if the request has the field name and, if values are given,
// one of its lines is one of them, byte for byte.
func Header(name string, values ...string) Matcher {
	return headerMatcher{name: http.CanonicalHeaderKey(name), values: slices.Clone(values)}
}

func (m headerMatcher) match(v *view) bool {
	lines := v.r.Header[m.name]
	if len(m.values) == 0 {
		return len(lines) > 0
	}
	return slices.ContainsFunc(lines, func(line string) bool { return slices.Contains(m.values, line) })
}

func (m headerMatcher) Match(r *http.Request) bool { return matchRequest(m, r) }
func (m headerMatcher) String() string             { return list("Header", append([]string{m.name}, m.values...)) }
func (m headerMatcher) check() error {
	switch {
	case m.name == "":
		return notEmpty("Header", 0)
	case !fields.Token(m.name):
		return fmt.Errorf("Header(%q) is no name of a field: want one without colon and value, such as X-Beta", m.name)
	case m.name == "Host":
		return fmt.Errorf("Header(%q) never matches: want Host(...)", m.name)
	case m.name == "Transfer-Encoding" || m.name == "Trailer":
		return fmt.Errorf("Header(%q) never matches: the server takes it off", m.name)
	}
	return checkValues("Header", m.name, m.values)
}

// checkValues says which value no request can have: a field's and a cookie's
// are trimmed.
func checkValues(kind, name string, values []string) error {
	for _, v := range values {
		if textproto.TrimString(v) != v || strings.ContainsAny(v, "\r\n\x00") || kind == "Cookie" && strings.Contains(v, ";") {
			return fmt.Errorf("%s(%q, %q) never matches: want a value without blanks around it", kind, name, v)
		}
	}
	return nil
}

type cookieMatcher struct {
	noParams
	name   string
	values []string
}

// Cookie matches if the request has a cookie of that name and, if values are
// given, with one of them, in quotes or not. A cookie whose value net/http
// refuses counts too: a backend may accept it.
func Cookie(name string, values ...string) Matcher {
	return cookieMatcher{name: name, values: slices.Clone(values)}
}

func (m cookieMatcher) match(v *view) bool {
	for name, pair := range fields.Cookies(v.r.Header) {
		if name != m.name {
			continue
		}
		_, value, _ := strings.Cut(pair, "=")
		value = textproto.TrimString(value)
		if len(m.values) == 0 || slices.Contains(m.values, value) || slices.Contains(m.values, unquote(value)) {
			return true
		}
	}
	return false
}

// unquote returns what stands between the quotes of a cookie's value (RFC 6265,
// section 4.1.1).
func unquote(value string) string {
	if n := len(value); n > 1 && value[0] == '"' && value[n-1] == '"' {
		return value[1 : n-1]
	}
	return value
}

func (m cookieMatcher) Match(r *http.Request) bool { return matchRequest(m, r) }
func (m cookieMatcher) String() string             { return list("Cookie", append([]string{m.name}, m.values...)) }
func (m cookieMatcher) check() error {
	switch {
	case m.name == "":
		return notEmpty("Cookie", 0)
	case textproto.TrimString(m.name) != m.name || strings.ContainsAny(m.name, "=;,*\r\n\x00"):
		return fmt.Errorf("Cookie(%q) is no name of a cookie: want it without value, and whole", m.name)
	}
	return checkValues("Cookie", m.name, m.values)
}

type clientMatcher struct {
	noParams
	prefixes []netip.Prefix
}

// Client matches if who asks, as edge.Client says, is within one of the
// prefixes. A client whose address is not known is within none. A prefix of
// IPv4 may be written as IPv6: ::ffff:10.0.0.0/104.
func Client(prefixes ...netip.Prefix) Matcher {
	unmapped, err := given.Prefixes(prefixes)
	if err != nil {
		return clientMatcher{prefixes: slices.Clone(prefixes)} // check says it again
	}
	return clientMatcher{prefixes: unmapped}
}

func (m clientMatcher) match(v *view) bool {
	client := transit.Client(v.r)
	return slices.ContainsFunc(m.prefixes, func(p netip.Prefix) bool { return p.Contains(client) })
}

func (m clientMatcher) Match(r *http.Request) bool { return matchRequest(m, r) }
func (m clientMatcher) String() string             { return list("Client", m.prefixes) }
func (m clientMatcher) check() error {
	if _, err := given.Prefixes(m.prefixes); err != nil {
		return fmt.Errorf("%s: not a prefix: %w", m, err)
	}
	return notEmpty("Client", len(m.prefixes))
}

type testMatcher struct {
	noParams
	name string
	f    func(*http.Request) bool
	id   unsafe.Pointer // tells f from other functions
}

// Test matches if f says so. The name stands for f wherever a rule is
// explained, and in proofs: give each function a name of its own. f must be
// safe for concurrent use. A router asks it once a request at most, however many
// rules and readings of the path there are; so it may take its time, a round
// trip to a store perhaps. It is one function where it is one function value:
// make the Matcher, or f, once and use it in all rules.
func Test(name string, f func(*http.Request) bool) Matcher {
	return testMatcher{name: name, f: f, id: closure(reflect.ValueOf(f))}
}

func (m testMatcher) match(v *view) bool {
	if v.rd == nil {
		return m.f(v.r)
	}
	for _, known := range v.rd.tested {
		if known.id == m.id {
			return known.yes
		}
	}
	yes := m.f(v.r)
	v.rd.tested = append(v.rd.tested, tested{m.id, yes})
	return yes
}

// tested is what a function has said of a request.
type tested struct {
	id  unsafe.Pointer
	yes bool
}

func (m testMatcher) Match(r *http.Request) bool { return m.f(r) }
func (m testMatcher) String() string             { return list("Test", []string{m.name}) }
func (m testMatcher) check() error {
	if m.f == nil {
		return fmt.Errorf("%s has no function", m)
	}
	return notEmpty("Test", len(m.name))
}

type allMatcher []Matcher

// All matches if every one of ms does. It asks them in order, up to the first
// that does not.
func All(ms ...Matcher) Matcher { return allMatcher(slices.Clone(ms)) }

func (m allMatcher) match(v *view) bool {
	for _, part := range m {
		if !part.match(v) {
			return false
		}
	}
	return true
}

func (m allMatcher) Match(r *http.Request) bool { return matchRequest(m, r) }
func (m allMatcher) String() string             { return list("All", m) }
func (m allMatcher) check() error               { return checkAll("All", m) }

type anyMatcher []Matcher

// Any matches if one of ms does. It asks them in order, up to the first that
// does.
func Any(ms ...Matcher) Matcher { return anyMatcher(slices.Clone(ms)) }

func (m anyMatcher) match(v *view) bool {
	for _, part := range m {
		if part.match(v) {
			return true
		}
	}
	return false
}

func (m anyMatcher) Match(r *http.Request) bool { return matchRequest(m, r) }
func (m anyMatcher) String() string             { return list("Any", m) }
func (m anyMatcher) check() error               { return checkAll("Any", m) }

type notMatcher struct {
	noParams
	m Matcher
}

// Not matches if m does not.
func Not(m Matcher) Matcher { return notMatcher{m: m} }

func (m notMatcher) match(v *view) bool         { return !m.m.match(v) }
func (m notMatcher) Match(r *http.Request) bool { return matchRequest(m, r) }
func (m notMatcher) String() string             { return list("Not", []Matcher{m.m}) }
func (m notMatcher) check() error               { return checkAll("Not", []Matcher{m.m}) }

func checkAll(name string, ms []Matcher) error {
	for _, m := range ms {
		if given.Nil(m) {
			return fmt.Errorf("%s holds a nil Matcher", name)
		}
		if err := m.check(); err != nil {
			return err
		}
	}
	return notEmpty(name, len(ms))
}

func notEmpty(name string, n int) error {
	if n == 0 {
		return fmt.Errorf("%s is empty", name)
	}
	return nil
}
