package http1

import (
	"bytes"
	"io"
	"net/http"

	"github.com/foretier/foretier/internal/fields"
)

// ParseResponse is [Head.ParseRequest] for the head of a response, to HEAD or
// another method. What net/http forgives servers is forgiven, and mended in b:
// lines that end in LF alone, folded lines, a status without a reason. A field
// whose name has blanks in it is left out. The Length of a response that ends with
// its connection is -2. Limits.Size counts the status line too.
func (h *Head) ParseResponse(b []byte, toHEAD bool, lim *Limits) (int, error) {
	if h.stage == atEnd {
		h.Reset()
	}
	if h.stage <= atLine {
		h.stage = atLine
		line, ok := h.line(b)
		if !ok {
			if limit := bound(lim.Size); len(b) > limit {
				return 0, errSize(limit)
			}
			return 0, nil
		}
		if err := h.statusLine(line); err != nil {
			return 0, err
		}
		h.startFields()
		h.free = 0
	}
	if whole, err := h.readFields(b, lim, ofResponse); !whole {
		return 0, err
	}
	h.b, h.Size = b[:h.at], h.at
	if err := h.judgeResponse(toHEAD); err != nil {
		return 0, err
	}
	h.stage = atEnd
	return h.Size, nil
}

// cutOff returns why a head whose connection ends behind b is none: because it ends,
// unless what there is of its last line is wrong already.
func (h *Head) cutOff(b []byte) error {
	line, err := b[h.at:], error(nil)
	if len(line) > 0 {
		switch h.stage {
		case atFields:
			err = h.forgivenField(b, h.at, line)
		default:
			err = h.statusLine(line)
		}
	}
	if err == nil {
		err = io.ErrUnexpectedEOF
	}
	return err
}

// statusLine reads a status line (RFC 9112, section 4).
func (h *Head) statusLine(line []byte) error {
	line = bytes.TrimSuffix(line, []byte{'\r'})
	version, rest, ok := cut(line, ' ')
	rest = bytes.TrimLeft(rest, " ")
	code, _, _ := cut(rest, ' ')
	switch {
	case !ok:
		return refuse(http.StatusBadGateway, "malformed HTTP response %q", clip(line))
	case len(code) != 3 || !isDigit(code[0]) || !isDigit(code[1]) || !isDigit(code[2]):
		return refuse(http.StatusBadGateway, "malformed HTTP status code %q", clip(code))
	// What says that it is HTTP/2 here would get HTTP/2's trust in the end of a
	// body.
	case len(version) != len("HTTP/1.1") || str(version[:7]) != "HTTP/1." || !isDigit(version[7]):
		return refuse(http.StatusBadGateway, "malformed version %s", clip(version))
	}
	h.Minor = int(version[7] - '0')
	h.Status = int(code[0]-'0')*100 + int(code[1]-'0')*10 + int(code[2]-'0')
	to := len(line)
	h.reason = spanOf(to-len(rest), to)
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
		return refuse(http.StatusBadGateway, "malformed field line %q", clip(line))
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
		return refuse(http.StatusBadGateway, "malformed folded line %q", clip(more))
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

// judgeResponse decides how long the body is, and what follows it (RFC 9112,
// section 6.3).
func (h *Head) judgeResponse(toHEAD bool) error {
	for i := range h.fields {
		if err := h.noteResponse(i); err != nil {
			return err
		}
	}
	if h.chunked && h.saysTrailer && !h.mayAnnounce() {
		return refuse(http.StatusBadGateway, "a trailer that says how the message is read")
	}
	h.Close = h.saysClose || h.Minor == 0 && !h.saysKeep
	h.toHEAD = toHEAD
	switch {
	case toHEAD, h.bodiless():
		h.Length = 0
	case h.chunked:
		h.Length = chunked
	case h.hasLength:
		h.Length = h.length
	default:
		h.Length, h.Close = untilEnd, true
	}
	if h.saysUpgrade && h.upgrade >= 0 {
		h.Upgrade = h.fields[h.upgrade].value.of(h.b)
	}
	return nil
}

// noteResponse is [Head.note] for a response. A length may be repeated, and HTTP/1.0
// knows no codings.
func (h *Head) noteResponse(i int) error {
	f := &h.fields[i]
	switch v := f.value.of(h.b); f.id {
	case nameTransferEncoding:
		if h.Minor > 0 && (h.chunked || !fields.EqualFold(v, "chunked")) {
			return refuse(http.StatusBadGateway, "unsupported Transfer-Encoding %q", clip([]byte(v)))
		}
		h.chunked = h.Minor > 0
	case nameContentLength:
		n, ok := parseLength(v)
		if !ok || h.hasLength && h.fields[h.lengthAt].value.of(h.b) != v {
			return refuse(http.StatusBadGateway, "Content-Length %q is no number, or not the only one", clip([]byte(v)))
		}
		if !h.hasLength {
			h.length, h.hasLength, h.lengthAt = n, true, i
		}
	default:
		h.noteHop(i, v)
	}
	return nil
}

// bodiless reports whether the status says that there is no body.
func (h *Head) bodiless() bool {
	return h.Status/100 == 1 || h.Status == http.StatusNoContent || h.Status == http.StatusNotModified
}

// contentLength is how long the answer is, or would be to another method than HEAD;
// -1: nobody says.
func (h *Head) contentLength() int64 {
	switch {
	case h.hasLength && (h.toHEAD || h.Length >= 0 && !h.bodiless()):
		return h.length
	case h.bodiless() && !h.toHEAD:
		return 0
	}
	return -1
}

// Response returns what [http.ReadResponse] makes of the head, as the answer to r,
// with the body given where there is one.
func (h *Head) Response(r *http.Request, body io.ReadCloser) *http.Response {
	text := h.copy()
	res := &http.Response{
		Status: h.reason.in(text, h.begin), StatusCode: h.Status,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: h.Minor,
		Header: h.header(text, nil), ContentLength: h.contentLength(), Close: h.Close, Body: http.NoBody, Request: r,
	}
	if h.Minor != 1 {
		res.Proto = text[:len("HTTP/1.x")]
	}
	if h.Length != 0 && body != nil {
		res.Body = body
	}
	if h.saysClose && h.Minor > 0 {
		delete(res.Header, "Connection")
	}
	if length := res.Header["Content-Length"]; len(length) > 1 {
		res.Header["Content-Length"] = length[:1:1]
	}
	if h.chunked {
		res.TransferEncoding = []string{"chunked"}
		res.Trailer = announced(res.Header)
		if h.Length == chunked {
			delete(res.Header, "Content-Length")
		}
	}
	return res
}
