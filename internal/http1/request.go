package http1

import (
	"bytes"
	"net/http"
	"strings"

	"github.com/foretier/foretier/internal/fields"
	"github.com/foretier/foretier/internal/target"
)

// maxMethod is how many bytes a method may have. None that is in use has half of
// it (RFC 9112, section 3).
const maxMethod = 64

// ParseRequest reads the head of a request that b begins with. It returns how many
// bytes that is; 0 if it is not whole yet, and is then called with the same bytes
// and those that follow them, at whatever place in memory. It looks at each byte
// once, however they come. The error is a [*Refusal].
func (h *Head) ParseRequest(b []byte, lim *Limits) (int, error) {
	if h.stage == atEnd {
		h.Reset()
	}
	if h.stage == atStart {
		if len(b) == 0 || b[0] == '\r' && len(b) == 1 {
			return 0, nil
		}
		if b[0] == '\r' && b[1] == '\n' {
			h.begin = 2
		}
		h.at, h.seen, h.stage = h.begin, h.begin, atLine
	}
	if h.stage == atLine {
		line, ok := h.line(b)
		if !ok {
			return 0, h.unfinished(b[h.at:], lim)
		}
		if err := h.requestLine(line, h.begin, lim); err != nil {
			return 0, err
		}
		h.startFields()
	}
	if whole, err := h.readFields(b, lim, ofRequest); !whole {
		return 0, err
	}
	h.b = b[:h.at]
	h.Method, h.Target, h.Size = h.method.of(b), h.target.of(b), h.at
	if err := h.judge(); err != nil {
		return 0, err
	}
	h.stage = atEnd
	return h.Size, nil
}

// judge decides what a request asks for and how it goes on.
func (h *Head) judge() error {
	for i := range h.fields {
		if err := h.note(i); err != nil {
			return err
		}
	}
	if err := h.judgeTarget(); err != nil {
		return err
	}
	return h.judgeFraming()
}

// unfinished judges a request line that has not ended, so that none is waited for
// that would be refused for its length. It does not look at all of it: it is asked
// each time that something has come.
func (h *Head) unfinished(line []byte, lim *Limits) error {
	method := bytes.IndexByte(line[:min(len(line), maxMethod+1)], ' ')
	if method < 0 && len(line) > maxMethod || method >= 0 && len(line)-method-1 > bound(lim.Target) {
		return h.requestLine(line, h.at, lim)
	}
	return nil
}

// requestLine reads a request line that begins at from. Of one that has not ended
// it refuses what cannot become right (RFC 9112, section 3).
func (h *Head) requestLine(line []byte, from int, lim *Limits) error {
	whole := h.at > from
	method, rest, ok := cut(line, ' ')
	switch {
	case !ok && whole && len(method) <= maxMethod:
		return refuse(http.StatusBadRequest, "malformed request line: %s", beginning(line))
	case len(method) > maxMethod:
		return refuse(http.StatusNotImplemented, "a method of more than %d bytes: %s", maxMethod, beginning(method))
	case !isToken(method):
		return refuse(http.StatusBadRequest, "malformed method: %s", beginning(method))
	}
	path, version, ok := cut(rest, ' ')
	switch limit := bound(lim.Target); {
	case len(path) > limit:
		return refuse(http.StatusRequestURITooLong, "the target has more than %d bytes", limit)
	case !whole && (!ok || len(version) <= len("HTTP/1.1\r")):
		return nil
	}
	switch str(version) {
	case "HTTP/1.1\r":
		h.Minor = 1
	case "HTTP/1.0\r":
	default:
		if isVersion(version) {
			return refuse(http.StatusHTTPVersionNotSupported, "version %s", version[:len(version)-1])
		}
		return refuse(http.StatusBadRequest, "malformed request line: %s", beginning(line))
	}
	h.method = spanOf(from, from+len(method))
	from = int(h.method.to) + 1
	h.target = spanOf(from, from+len(path))
	return nil
}

// isVersion reports whether v, with its CR, is some version of HTTP.
func isVersion(v []byte) bool {
	return len(v) == len("HTTP/x.y\r") && str(v[:5]) == "HTTP/" && isDigit(v[5]) && v[6] == '.' && isDigit(v[7]) && v[8] == '\r'
}

// note keeps what a field of a request says of it.
func (h *Head) note(i int) error {
	f := &h.fields[i]
	if f.id >= nameRest {
		return nil
	}
	switch v := f.value.of(h.b); f.id {
	case nameHost:
		if h.host != i {
			return refuse(http.StatusBadRequest, "more than one Host")
		}
	case nameContentLength: // digits alone, and once (RFC 9110, section 8.6)
		n, ok := parseLength(v)
		if !ok || h.hasLength {
			return refuse(http.StatusBadRequest, "Content-Length %q is no number, or not the only one", clip([]byte(v)))
		}
		h.length, h.hasLength = n, true
	case nameTransferEncoding:
		if h.chunked || !fields.EqualFold(v, "chunked") {
			return refuse(http.StatusNotImplemented, "Transfer-Encoding %q is not chunked, or not the only one", clip([]byte(v)))
		}
		h.chunked = true
	case nameExpect:
		if fields.EqualFold(v, "100-continue") {
			h.expects = true
		} else if v != "" {
			return refuse(http.StatusExpectationFailed, "expectation %q", clip([]byte(v)))
		}
	default:
		h.noteHop(i, v)
	}
	return nil
}

// judgeTarget decides which host is asked, and for what (RFC 9112, sections 3.2
// and 3.3).
func (h *Head) judgeTarget() error {
	sent := ""
	if h.host >= 0 {
		sent = h.fields[h.host].value.of(h.b)
	} else if h.Minor > 0 {
		return refuse(http.StatusBadRequest, "no Host")
	}
	h.Host = sent
	switch {
	case h.Target != "" && h.Target[0] == '/':
	case h.Method == http.MethodConnect:
		if !fields.Host(h.Target) {
			return refuse(http.StatusBadRequest, "target %q is no host", clip([]byte(fields.AfterLogin(h.Target))))
		}
		h.Host = h.Target
	default:
		if _, rest, ok := strings.Cut(h.Target, "://"); ok {
			if i := strings.IndexAny(rest, "/?"); i >= 0 {
				rest = rest[:i]
			}
			h.Host = rest
		}
	}
	if h.Method != http.MethodConnect || h.Target[0] == '/' {
		if !target.Valid(h.Target) {
			return refuse(http.StatusBadRequest, "target %q is neither a path nor an http URL", told(h.Target))
		}
		if !escapesEnd(h.Target) {
			return refuse(http.StatusBadRequest, "a percent sign in target %q begins no escape", told(h.Target))
		}
	}
	if !fields.Host(h.Host) && (h.Host != "" || h.Minor > 0) || !fields.HostBytes(sent) {
		return refuse(http.StatusBadRequest, "host %q", clip([]byte(fields.AfterLogin(h.Host))))
	}
	return nil
}

// escapesEnd reports whether every percent sign of a target's path begins an
// escape. Where none does, servers read the path in different ways.
func escapesEnd(t string) bool {
	for i := 0; i < len(t) && t[i] != '?'; i++ {
		if t[i] == '%' && !target.IsEscape(t[i:]) {
			return false
		}
	}
	return true
}

// judgeFraming decides how long the body is, and what follows it (RFC 9112,
// sections 6.1, 6.3 and 9.3).
func (h *Head) judgeFraming() error {
	h.Length = h.length
	switch {
	case h.chunked && h.Minor == 0:
		return refuse(http.StatusBadRequest, "chunks in HTTP/1.0")
	case h.chunked && h.hasLength:
		return refuse(http.StatusBadRequest, "Content-Length beside Transfer-Encoding")
	case h.chunked:
		h.Length = chunked
		if h.saysTrailer && !h.mayAnnounce() {
			return refuse(http.StatusBadRequest, "a trailer that says how the message is read")
		}
	}
	h.Expect = h.expects && h.Minor > 0 && h.Length != 0
	h.Close = h.saysClose || h.Minor == 0 && !h.saysKeep
	if h.saysUpgrade && h.upgrade >= 0 && h.Minor > 0 {
		h.Upgrade = h.fields[h.upgrade].value.of(h.b)
	}
	return nil
}
