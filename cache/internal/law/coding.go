package law

import (
	"math/bits"
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

// CodingOf returns the coding of that name, or 0 if the cache does not know it.
func CodingOf(name string) Codings { return codingOf(name) }

// A Wish is how much a request wants each of the codings that the cache tells
// apart, in thousandths (RFC 9110, section 12.4.2).
type Wish struct {
	named    [5]int16 // by the place of the bit in Codings
	identity int16
	rest     int16 // what * says
}

// unsaid is what stands in a Wish for what is not named.
const unsaid = -1

// ReadWish reads Accept-Encoding. Without one a request is taken to want nothing
// coded: it may, and most who send none cannot read it. Nobody has a list of
// hundreds in earnest: it is taken for none, which is always right.
func ReadWish(lines []string) Wish {
	w := Wish{named: [5]int16{unsaid, unsaid, unsaid, unsaid, unsaid}, identity: unsaid, rest: unsaid}
	count := 0
	for _, line := range lines {
		count += 1 + strings.Count(line, ",")
	}
	if count > maxCodings {
		return w
	}
	for member := range fields.Members(lines) {
		name, params, _ := strings.Cut(member, ";")
		name = textproto.TrimString(name)
		q := quality(params)
		switch coding := codingOf(name); {
		case coding != 0:
			place := &w.named[bits.TrailingZeros8(uint8(coding))]
			if *place == unsaid || q < *place { // refused once is refused
				*place = q
			}
		case name == "*":
			w.rest = q
		case fields.EqualFold(name, "identity"):
			w.identity = q
		}
	}
	return w
}

// of returns how much the i-th coding is wanted.
func (w *Wish) of(i int) int16 {
	if q := w.named[i]; q != unsaid {
		return q
	}
	return max(w.rest, 0)
}

// ReadCodings reads Accept-Encoding: see [ReadWish]. Preferences among codings are
// not looked at, but what has quality 0 is refused.
func ReadCodings(lines []string) (c Codings) {
	w := ReadWish(lines)
	for i := range w.named {
		if w.of(i) > 0 {
			c |= 1 << i
		}
	}
	if w.identity == 0 || w.identity == unsaid && w.rest == 0 {
		c |= noIdentity
	}
	return c
}

// Best returns the place in offers, single codings, of the one that is wanted most, the
// first of several that are wanted alike, or -1 if what is not coded is wanted more.
// Only those offers are looked at for which there is a bit in among.
func (w *Wish) Best(offers []Codings, among uint) int {
	best, most := -1, max(w.identity, 1)
	for i, offer := range offers {
		if q := w.of(bits.TrailingZeros8(uint8(offer))); among&(1<<i) != 0 && (q > most || q == most && best < 0) {
			best, most = i, q
		}
	}
	return best
}

// quality returns the quality that parameters give, in thousandths. What is no
// number is taken for the most, and what is too small to be told from 0 for the least.
func quality(params string) int16 {
	name, value, ok := strings.Cut(params, "=")
	if !ok || !strings.EqualFold(textproto.TrimString(name), "q") {
		return 1000
	}
	value = textproto.TrimString(value)
	if value != "" && strings.Trim(value, "0.") == "" {
		return 0
	}
	digits, ok := strings.CutPrefix(strings.TrimPrefix(value, "0"), ".")
	if !ok {
		return 1000
	}
	q, unit := int16(0), int16(100)
	for i := range len(digits) {
		if digits[i] < '0' || digits[i] > '9' {
			return 1000
		}
		q += int16(digits[i]-'0') * unit
		unit /= 10
	}
	return max(q, 1)
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
