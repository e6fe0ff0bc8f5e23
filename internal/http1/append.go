package http1

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"unsafe"
)

// AppendStatus appends the status line of a response in HTTP/1.x, minor being that
// of the request.
func AppendStatus(b []byte, minor, status int) []byte {
	if minor > 0 {
		b = append(b, "HTTP/1.1 "...)
	} else {
		b = append(b, "HTTP/1.0 "...)
	}
	b = strconv.AppendInt(b, int64(status), 10)
	b = append(b, ' ')
	if text := http.StatusText(status); text != "" {
		b = append(b, text...)
	} else {
		b = append(b, "status code "...)
		b = strconv.AppendInt(b, int64(status), 10)
	}
	return append(b, "\r\n"...)
}

// AppendField appends a field, as net/http's server writes it: nothing if its name
// is no token; in its value CR and LF become blanks, and blanks around it go.
func AppendField(b []byte, name, value string) []byte {
	for i := range len(name) {
		if lower[name[i]] == 0 {
			return b
		}
	}
	if name == "" {
		return b
	}
	b = append(b, name...)
	b = append(b, ": "...)
	b = appendValue(b, value)
	return append(b, "\r\n"...)
}

func appendValue(b []byte, value string) []byte {
	if n := len(value); n > 0 && value[0] > ' ' && value[n-1] > ' ' && isValue(unsafe.Slice(unsafe.StringData(value), n)) {
		return append(b, value...) // as nearly all are
	}
	value = strings.Trim(value, " \t\r\n")
	at := len(b)
	b = append(b, value...)
	for i, c := range b[at:] {
		if c == '\n' || c == '\r' {
			b[at+i] = ' '
		}
	}
	return b
}

// AppendHeader appends the fields of a header in the order of their names, but those
// that without names in canonical form.
func AppendHeader(b []byte, header http.Header, without ...string) []byte {
	var room [32]string
	sorted := room[:0]
	for name := range header {
		if !slices.Contains(without, name) {
			sorted = append(sorted, name)
		}
	}
	slices.Sort(sorted)
	for _, name := range sorted {
		for _, value := range header[name] {
			b = AppendField(b, name, value)
		}
	}
	return b
}

// AppendInformational appends a whole response that comes before the final one: 1xx
// but 101.
func AppendInformational(b []byte, status int, header http.Header) []byte {
	b = AppendStatus(b, 1, status)
	b = AppendHeader(b, header, "Content-Length", "Transfer-Encoding")
	return append(b, "\r\n"...)
}

// AppendChunk appends data as a chunk; nothing for none, which would be the end.
func AppendChunk(b, data []byte) []byte {
	if len(data) == 0 {
		return b
	}
	b = AppendChunkSize(b, len(data))
	b = append(b, data...)
	return append(b, "\r\n"...)
}

// AppendChunkSize appends the line in front of a chunk of n bytes, behind which CRLF
// has to come.
func AppendChunkSize(b []byte, n int) []byte {
	b = strconv.AppendUint(b, uint64(n), 16)
	return append(b, "\r\n"...)
}

// AppendLastChunk appends the end of a chunked body, with trailers.
func AppendLastChunk(b []byte, trailers http.Header) []byte {
	b = append(b, "0\r\n"...)
	if len(trailers) > 0 {
		b = AppendHeader(b, trailers)
	}
	return append(b, "\r\n"...)
}
