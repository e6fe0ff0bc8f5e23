package http1

import (
	"bytes"
	"encoding/binary"
	"net/http"
	"strings"

	"github.com/foretier/foretier/internal/fields"
)

// A section is what fields are of.
type section uint8

const (
	ofRequest section = iota
	ofResponse
	ofTrailer // which say nothing of the message
)

// startFields begins with the fields, at the line that is read next.
func (h *Head) startFields() {
	h.stage, h.free = atFields, h.at
	h.fields, h.host, h.upgrade, h.lengthAt = h.fields[:0], -1, -1, -1
}

// readFields reads fields up to the empty line behind them, and reports whether
// that has come. What it forgives responses it mends in b.
func (h *Head) readFields(b []byte, lim *Limits, of section) (whole bool, err error) {
	limit := bound(lim.Size)
	for {
		from := h.at
		line, ok := h.line(b)
		if !ok {
			if len(b)-h.free > limit+1 { // the CR of the empty line may be among them
				return false, errSize(limit)
			}
			return false, nil
		}
		if len(line) == 1 && line[0] == '\r' || of == ofResponse && len(line) == 0 {
			return true, nil
		}
		if h.at-h.free > limit {
			return false, errSize(limit)
		}
		if of == ofResponse {
			err = h.forgivenField(b, from, line)
		} else {
			err = h.field(from, line)
		}
		if err == nil && of != ofResponse {
			err = h.count(b, lim)
		}
		if err != nil {
			return false, err
		}
	}
}

func errSize(limit int) error {
	return refuse(http.StatusRequestHeaderFieldsTooLarge, "the header has more than %d bytes", limit)
}

// field reads a line that begins at from (RFC 9112, section 5).
func (h *Head) field(from int, line []byte) error {
	n := 0
	for n < len(line) && lower[line[n]] != 0 {
		n++
	}
	end := len(line) - 1
	if n == 0 || n == len(line) || line[n] != ':' || line[end] != '\r' {
		return malformed(line, n)
	}
	start := n + 1
	for start < end && isBlank(line[start]) {
		start++
	}
	for end > start && isBlank(line[end-1]) {
		end--
	}
	if !isValue(line[start:end]) {
		return refuse(http.StatusBadRequest, "a control byte in field %s", clip(line[:n]))
	}
	h.fields = append(h.fields, field{nameOf(line[:n]), spanOf(from, from+n), spanOf(from+start, from+end)})
	return nil
}

// malformed says what is wrong with a line that is no field behind its first n
// bytes.
func malformed(line []byte, n int) error {
	switch {
	case len(line) == 0:
		return refuse(http.StatusBadRequest, "the header ends without CR")
	case isBlank(line[0]):
		return refuse(http.StatusBadRequest, "a folded line in the header")
	case n == 0 || n == len(line) || !isBlank(line[n]) && line[n] != ':':
		return refuse(http.StatusBadRequest, "malformed field line %s", shape(line))
	case line[n] != ':':
		return refuse(http.StatusBadRequest, "a blank in or behind the name of a field: %s", shape(line))
	}
	return refuse(http.StatusBadRequest, "a line of the header ends without CR")
}

func isBlank(c byte) bool { return c == ' ' || c == '\t' }

// isValue is [fields.Value], eight bytes at a time.
func isValue(b []byte) bool {
	if len(b) < 8 {
		return fields.Value(str(b))
	}
	for i := 0; ; i += 8 {
		i = min(i, len(b)-8) // the last eight may have been seen in part
		if suspicious(binary.LittleEndian.Uint64(b[i:])) && !fields.Value(str(b[i:i+8])) {
			return false
		}
		if i == len(b)-8 {
			return true
		}
	}
}

// suspicious reports whether one of eight bytes is below the blank, or DEL. It may
// be wrong about a byte above such a one.
func suspicious(x uint64) bool {
	const ones, high = 0x0101010101010101, 0x8080808080808080
	del := x ^ 0x7f*ones
	return ((x-0x20*ones)&^x|(del-ones)&^del)&high != 0
}

// count counts the field that was read last, and its cookies.
func (h *Head) count(b []byte, lim *Limits) error {
	last := len(h.fields) - 1
	switch f := &h.fields[last]; f.id {
	case nameHost:
		if h.host < 0 {
			h.host = last
			h.uncounted++
			h.free += h.at - int(f.name.from)
		}
	case nameCookie:
		if h.cookies > 0 { // all lines of it are one field
			h.uncounted++
		}
		h.cookies += strings.Count(f.value.of(b), ";") + 1
	}
	switch {
	case lim.Fields > 0 && len(h.fields)-h.uncounted > lim.Fields:
		return refuse(http.StatusRequestHeaderFieldsTooLarge, "the header has more than %d fields", lim.Fields)
	case lim.Cookies > 0 && h.cookies > lim.Cookies:
		return refuse(http.StatusRequestHeaderFieldsTooLarge, "the header has more than %d cookies", lim.Cookies)
	}
	return nil
}

// forgivenField reads a line that begins at from as net/http does.
func (h *Head) forgivenField(b []byte, from int, line []byte) error {
	line = bytes.TrimRight(bytes.TrimSuffix(line, []byte{'\r'}), " \t")
	if folded := b[from]; isBlank(folded) {
		return h.unfold(b, bytes.TrimLeft(line, " \t"))
	}
	name, value, ok := cut(line, ':')
	value = bytes.TrimLeft(value, " \t")
	if h.dropped = bytes.IndexByte(name, ' ') >= 0; h.dropped {
		name = bytes.ReplaceAll(name, []byte{' '}, nil)
	}
	if !ok || !isToken(name) || !isValue(value) {
		return refuse(http.StatusBadGateway, "malformed field line %s", shape(line))
	}
	if !h.dropped {
		end := from + len(line)
		h.fields = append(h.fields, field{nameOf(name), spanOf(from, from+len(name)), spanOf(end-len(value), end)})
	}
	return nil
}

// unfold appends a folded line to the value before it (RFC 9112, section 5.2).
func (h *Head) unfold(b []byte, more []byte) error {
	if len(h.fields) == 0 && !h.dropped || !isValue(more) {
		return refuse(http.StatusBadGateway, "malformed folded line of %d bytes", len(more))
	}
	if h.dropped {
		return nil
	}
	v := &h.fields[len(h.fields)-1].value
	if v.from < v.to {
		b[v.to] = ' ' // the end of the line before
		v.to++
	}
	v.to += uint32(copy(b[v.to:], more))
	return nil
}
