package law

import (
	"net/textproto"
	"strings"

	"github.com/foretier/foretier/internal/fields"
)

// Codings are the content codings that a request accepts, of those that the
// cache tells apart (RFC 9110, section 12.5.3).
type Codings uint8

const (
	gzip Codings = 1 << iota
	brotli
	zstd
	deflate
	compress
	noIdentity // it accepts nothing that is not coded
)

// modern are the codings in use: whoever accepts one of them is not given the
// others, which servers and clients never agreed upon.
const modern = gzip | brotli | zstd

// maxCodings is how many members of Accept-Encoding are read.
const maxCodings = 64

const every = modern | deflate | compress

// ReadCodings reads Accept-Encoding. Without one a request is taken to accept
// nothing coded: it may, and most who send none cannot read it. Preferences
// among codings are not looked at, but what has quality 0 is refused. Nobody
// has a list of hundreds in earnest: it is taken to accept nothing coded, which
// is always right.
func ReadCodings(lines []string) (c Codings) {
	count := 0
	for _, line := range lines {
		count += 1 + strings.Count(line, ",")
	}
	if count > maxCodings {
		return 0
	}
	var refused Codings
	rest, identity, said := false, true, false // what * and identity say, and whether that one does
	for member := range fields.Members(lines) {
		name, params, _ := strings.Cut(member, ";")
		name = textproto.TrimString(name)
		no := zeroQuality(params)
		switch coding := codingOf(name); {
		case coding != 0 && no:
			refused |= coding
		case coding != 0:
			c |= coding
		case name == "*":
			rest = !no
			if !said {
				identity = !no
			}
		case fields.EqualFold(name, "identity"):
			identity, said = !no, true
		}
	}
	if rest {
		c |= every
	}
	if c &^= refused; !identity {
		c |= noIdentity
	}
	return c
}

// zeroQuality reports whether parameters give a quality of 0.
func zeroQuality(params string) bool {
	name, value, ok := strings.Cut(params, "=")
	if !ok || !strings.EqualFold(textproto.TrimString(name), "q") {
		return false
	}
	value = textproto.TrimString(value)
	return value != "" && strings.Trim(value, "0.") == ""
}

func codingOf(name string) Codings {
	if len(name) > len("x-compress") {
		return 0
	}
	switch strings.ToLower(name) {
	case "gzip", "x-gzip":
		return gzip
	case "br":
		return brotli
	case "zstd":
		return zstd
	case "deflate":
		return deflate
	case "compress", "x-compress":
		return compress
	}
	return 0
}

// sent returns what of c a backend is told.
func (c Codings) sent() Codings {
	if c&modern != 0 {
		return c & (modern | noIdentity)
	}
	return c
}

// String returns Accept-Encoding as a backend is sent it with a request whose
// response may be stored: one text for all requests that the cache does not
// tell apart.
func (c Codings) String() string {
	var b strings.Builder
	add := func(s string) {
		if b.Len() > 0 {
			b.WriteString(", ")
		}
		b.WriteString(s)
	}
	for i, name := range [...]string{"gzip", "br", "zstd", "deflate", "compress", "identity;q=0"} {
		if c.sent()&(1<<i) != 0 {
			add(name)
		}
	}
	if b.Len() == 0 {
		return "identity"
	}
	return b.String()
}

// Beside a stored response stand two bytes for Accept-Encoding: how it was
// coded, and in what, or what the request accepted.
const (
	plain   = '-' // not coded, although the request accepted ...
	coded   = '=' // coded in ...
	unknown = '?' // coded in something else for one who accepted ...
)

// mark writes c as a byte that is neither endOfField nor noField.
func mark(c Codings) byte { return 0x80 | byte(c) }

// appendCoded appends how a response to a request that accepts c is coded.
func appendCoded(buf []byte, c Codings, encoding []string) []byte {
	var in Codings
	for name := range fields.Members(encoding) {
		coding := codingOf(name)
		if coding == 0 && !fields.EqualFold(name, "identity") {
			return append(buf, unknown, mark(c.sent()))
		}
		in |= coding
	}
	if in == 0 {
		return append(buf, plain, mark(c.sent()))
	}
	return append(buf, coded, mark(in))
}

// cutCoded takes what appendCoded has written off variant, and reports whether
// c may be served it: in a coding that it accepts, or, not coded, if nothing
// better can be expected for it. That is so if it was not coded for one who
// accepted as much, or gzip, which every server has that codes at all: whoever
// accepts little must not take the compression from all others.
func (c Codings) cutCoded(variant string) (rest string, ok bool) {
	if len(variant) < 2 {
		return "", false
	}
	how, what := variant[0], Codings(variant[1]&^0x80)
	switch how {
	case coded:
		ok = what&^c == 0
	case plain:
		ok = c&noIdentity == 0 && (what&gzip != 0 || c.sent()&^what == 0)
	default:
		ok = what == c.sent()
	}
	return variant[2:], ok
}
