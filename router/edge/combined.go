package edge

import (
	"net/netip"
	"strconv"

	"github.com/foretier/foretier/internal/fields"
	"github.com/foretier/foretier/router/edge/internal/logline"
)

// combinedTime formats the times of combined lines.
var combinedTime = logline.Stamp{Layout: "02/Jan/2006:15:04:05 -0700"}

// appendCombined appends a's line in Apache's combined format:
//
//	192.0.2.1 - - [23/Nov/2026:06:00:00 +0000] "GET /a HTTP/1.1" 200 512 "-" "curl/8.5.0"
//
// What a client sent is quoted so that it cannot forge a field or a line.
func appendCombined(b []byte, a *access) []byte {
	b = appendAddr(b, a.client)
	b = append(b, " - - ["...)
	b = append(b, combinedTime.String(a.began)...)
	b = append(b, "] "...)
	b = append(b, '"')
	b = escape(append(escape(append(escape(b, a.method), ' '), fields.WithoutLogin(a.target)), ' '), a.proto)
	b = append(b, '"')
	b = append(b, ' ')
	b = strconv.AppendInt(b, int64(a.status), 10)
	b = append(b, ' ')
	b = strconv.AppendInt(b, a.bytes, 10)
	b = append(b, ' ')
	b = quote(b, fields.WithoutLogin(a.referer))
	b = append(b, ' ')
	b = quote(b, a.agent)
	return append(b, '\n')
}

// appendAddr appends an address, or what netip says of none.
func appendAddr(b []byte, addr netip.Addr) []byte {
	if !addr.IsValid() {
		return append(b, addr.String()...)
	}
	return addr.AppendTo(b)
}

// quote appends s in quotes, and "-" if there is nothing.
func quote(b []byte, s string) []byte {
	if s == "" {
		return append(b, `"-"`...)
	}
	return append(escape(append(b, '"'), s), '"')
}

// escape appends s as Apache does: quotes, backslashes and what is not printable
// ASCII as \xHH.
func escape(b []byte, s string) []byte {
	if logline.IsClean(s) {
		return append(b, s...)
	}
	const digits = "0123456789abcdef"
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			b = append(b, '\\', 'x', digits[c>>4], digits[c&15])
		} else {
			b = append(b, c)
		}
	}
	return b
}

// anonymous cuts an address to its network: /24, /48.
func anonymous(addr netip.Addr) netip.Addr {
	bits := 48
	if addr.Is4() {
		bits = 24
	}
	p, err := addr.Prefix(bits)
	if err != nil {
		return addr // the zero Addr
	}
	return p.Addr()
}
