package memory

import (
	"net/http"
	"slices"
	"strings"
)

// FormatHead renders a header as [Entry.Head] holds it. A field without values,
// by which a handler tells the server to make none up, is a line without a
// colon.
func FormatHead(h http.Header) string {
	names := make([]string, 0, len(h))
	n := 0
	for name, values := range h {
		names = append(names, name)
		for _, v := range values {
			n += len(name) + len(v) + 4
		}
	}
	slices.Sort(names)
	var b strings.Builder
	b.Grow(n)
	for _, name := range names {
		if len(h[name]) == 0 {
			b.WriteString(name)
			b.WriteString("\r\n")
		}
		for _, v := range h[name] {
			b.WriteString(name)
			b.WriteString(": ")
			b.WriteString(v)
			b.WriteString("\r\n")
		}
	}
	return b.String()
}

// Header returns the header as a map of its own.
func (e *Entry) Header() http.Header {
	h := make(http.Header)
	e.CopyHeader(h)
	return h
}

// CopyHeader sets the fields of the header in h, and adds others, which are
// pairs of name and value. The values share one array; each field's slice has
// no room, so that who appends to it copies.
func (e *Entry) CopyHeader(h http.Header, others ...string) {
	values := make([]string, 0, strings.Count(e.Head, "\n")+len(others)/2)
	head, last, from := e.Head, "", 0
	for head != "" {
		var line string
		line, head, _ = strings.Cut(head, "\r\n")
		name, value, ok := strings.Cut(line, ": ")
		if !ok {
			h[name] = nil
			continue
		}
		if name != last {
			last, from = name, len(values)
		}
		values = append(values, value)
		h[name] = values[from:len(values):len(values)]
	}
	for i := 0; i < len(others); i += 2 {
		if there := h[others[i]]; len(there) > 0 {
			h[others[i]] = append(there[:len(there):len(there)], others[i+1])
			continue
		}
		from = len(values)
		values = append(values, others[i+1])
		h[others[i]] = values[from:len(values):len(values)]
	}
}

// Field returns the first value of a field.
func (e *Entry) Field(name string) string {
	head := e.Head
	for head != "" {
		var line string
		line, head, _ = strings.Cut(head, "\r\n")
		if n, value, _ := strings.Cut(line, ": "); n == name {
			return value
		}
	}
	return ""
}
