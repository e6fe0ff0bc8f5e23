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
		return refuse(http.StatusBadGateway, "malformed HTTP response: %s", beginning(line))
	case len(code) != 3 || !isDigit(code[0]) || !isDigit(code[1]) || !isDigit(code[2]):
		return refuse(http.StatusBadGateway, "malformed HTTP status code: %s", beginning(code))
	// What says that it is HTTP/2 here would get HTTP/2's trust in the end of a
	// body.
	case len(version) != len("HTTP/1.1") || str(version[:7]) != "HTTP/1." || !isDigit(version[7]):
		return refuse(http.StatusBadGateway, "malformed version: %s", beginning(version))
	}
	h.Minor = int(version[7] - '0')
	h.Status = int(code[0]-'0')*100 + int(code[1]-'0')*10 + int(code[2]-'0')
	to := len(line)
	h.reason = spanOf(to-len(rest), to)
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

// bodyAfterNone reports whether a server announces a body where there can't be
// one: it might send it, and it would be read as the next response.
func (h *Head) bodyAfterNone() bool {
	return h.Status == http.StatusNoContent && (h.hasLength && h.length != 0 || h.chunked)
}

// announced returns the names of the trailers that the head announces, without
// values; nil for none.
func (h *Head) announced() http.Header {
	var lines []string
	for i := range h.fields {
		if f := &h.fields[i]; f.id == nameTrailer {
			lines = append(lines, f.value.of(h.b))
		}
	}
	return Announced(http.Header{"Trailer": lines})
}
