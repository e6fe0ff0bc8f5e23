package http2

import (
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/http2/hpack"

	"github.com/foretier/foretier/internal/fields"
)

// names are those of HPACK's static table (RFC 7541, appendix A) in canonical form.
var names = map[string]byte{
	"Accept-Charset": 15, "Accept-Encoding": 16, "Accept-Language": 17, "Accept": 19, "Authorization": 23, "Expect": 35, "From": 37,
	"Host": 38, "If-Match": 39, "If-Modified-Since": 40, "If-None-Match": 41, "If-Range": 42, "If-Unmodified-Since": 43, "Max-Forwards": 47,
	"Proxy-Authorization": 49, "Range": 50, "Referer": 51,
	"Accept-Ranges": 18, "Access-Control-Allow-Origin": 20, "Age": 21, "Allow": 22, "Cache-Control": 24,
	"Content-Disposition": 25, "Content-Encoding": 26, "Content-Language": 27, "Content-Length": 28, "Content-Location": 29,
	"Content-Range": 30, "Content-Type": 31, "Cookie": 32, "Date": 33, "Etag": 34, "Expires": 36, "Last-Modified": 44, "Link": 45,
	"Location": 46, "Proxy-Authenticate": 48, "Refresh": 52, "Retry-After": 53, "Server": 54, "Set-Cookie": 55,
	"Strict-Transport-Security": 56, "Transfer-Encoding": 57, "User-Agent": 58, "Vary": 59, "Via": 60, "Www-Authenticate": 61,
}

// NoTable is what the first block of a connection begins with: there is no dynamic table
// (RFC 7541, section 6.3). The peer then need not be told again when it allows a smaller
// one.
const NoTable byte = 0x20

const atStatus = 8 // in the static table; what follows are those that stand there whole

// AppendStatus appends the status of an answer.
func AppendStatus(b []byte, status int) []byte {
	for i, whole := range [...]int{200, 204, 206, 304, 400, 404, 500} {
		if status == whole {
			return append(b, 0x80|byte(atStatus+i))
		}
	}
	return AppendNumber(append(b, atStatus), int64(status))
}

// AppendField appends a field: nothing if its name is no token; in its value CR and LF
// become blanks, and blanks around it go, as package http1 has it. The name is in
// canonical form, or in any.
func AppendField(b []byte, name, value string) []byte {
	if !fields.Token(name) {
		return b
	}
	b = AppendName(b, name)
	if !fields.Value(value) || value != strings.Trim(value, " \t") {
		value = strings.NewReplacer("\r", " ", "\n", " ", "\x00", " ").Replace(strings.Trim(value, " \t\r\n"))
	}
	return AppendString(b, value)
}

// AppendName appends the name of a field, a token, whose value is to follow: by
// [AppendString], or by [AppendLength] and as many bytes.
func AppendName(b []byte, name string) []byte {
	if i := names[name]; i != 0 {
		return appendInt(b, 0, 4, uint64(i))
	}
	b = appendInt(append(b, 0), 0, 7, uint64(len(name)))
	at := len(b)
	b = append(b, name...)
	for i, c := range b[at:] {
		if 'A' <= c && c <= 'Z' {
			b[at+i] = c | 0x20
		}
	}
	return b
}

// AppendString appends a value.
func AppendString(b []byte, s string) []byte { return append(AppendLength(b, len(s)), s...) }

// AppendLength appends the length of a value.
func AppendLength(b []byte, n int) []byte { return appendInt(b, 0, 7, uint64(n)) }

// AppendNumber appends n as a value.
func AppendNumber(b []byte, n int64) []byte {
	var digits [20]byte
	text := strconv.AppendInt(digits[:0], n, 10)
	return append(AppendLength(b, len(text)), text...)
}

// AppendDense appends a value by Huffman's code, if that is shorter: of use for what is
// remembered.
func AppendDense(b []byte, s string) []byte {
	n := hpack.HuffmanEncodeLength(s)
	if n >= uint64(len(s)) {
		return AppendString(b, s)
	}
	return hpack.AppendHuffmanString(appendInt(b, 0x80, 7, n), s)
}

// appendInt appends n behind the bits of first, of which it has as many as bits says
// (RFC 7541, section 5.1).
func appendInt(b []byte, first byte, bits uint, n uint64) []byte {
	most := uint64(1)<<bits - 1
	if n < most {
		return append(b, first|byte(n))
	}
	b = append(b, first|byte(most))
	for n -= most; n >= 0x80; n >>= 7 {
		b = append(b, byte(n)|0x80)
	}
	return append(b, byte(n))
}

// DateLayout is that of a Date (RFC 9110, section 5.6.7).
const DateLayout = "Mon, 02 Jan 2006 15:04:05 GMT"

// AppendDate appends the Date field of an answer that is sent now.
func AppendDate(b []byte, now time.Time) []byte {
	b = AppendLength(AppendName(b, "Date"), len(DateLayout))
	return now.UTC().AppendFormat(b, DateLayout)
}
