package edge

import (
	"io"
	"net/http"
	"net/netip"
	"strconv"
	"sync"
	"time"
)

// A combinedLog writes lines in Apache's combined format:
//
//	192.0.2.1 - - [23/Nov/2026:06:00:00 +0000] "GET /a HTTP/1.1" 200 512 "-" "curl/8.5.0"
//
// What a client sent is quoted so that it cannot forge a field or a line.
type combinedLog struct {
	mu   sync.Mutex
	line []byte // guarded by mu; reused
}

func (l *combinedLog) write(w io.Writer, ex *exchange, r *http.Request, client netip.Addr, status int, began time.Time) {
	if w == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	b := l.line[:0]
	b = appendAddr(b, client)
	b = append(b, " - - ["...)
	b = began.AppendFormat(b, "02/Jan/2006:15:04:05 -0700")
	b = append(b, "] "...)
	b = append(b, '"')
	b = escape(append(escape(append(escape(b, r.Method), ' '), r.RequestURI), ' '), r.Proto)
	b = append(b, '"')
	b = append(b, ' ')
	b = strconv.AppendInt(b, int64(status), 10)
	b = append(b, ' ')
	b = strconv.AppendInt(b, ex.bytes, 10)
	b = append(b, ' ')
	b = quote(b, r.Header.Get("Referer"))
	b = append(b, ' ')
	b = quote(b, r.Header.Get("User-Agent"))
	b = append(b, '\n')
	l.line = b
	_, _ = w.Write(b) // a log that cannot be written must not stop the shop
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
