package fcgi

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/foretier/foretier/internal/fields"
	"github.com/foretier/foretier/internal/http1"
)

// A head is what a script says of its answer (RFC 3875, section 6.3).
type head struct {
	status int // 0: it does not say
	header http.Header

	at    int // where the line begins that is being read
	seen  int // and up to where it has no end
	lines int
}

// read reads on in b, which begins as at the call before. It returns how long the head
// is, and 0 as long as its end has not come.
func (h *head) read(b []byte) (int, error) {
	for {
		i := bytes.IndexByte(b[h.seen:], '\n')
		if i < 0 {
			h.seen = len(b)
		} else {
			h.seen += i + 1
		}
		switch {
		case h.seen > http1.MaxHeader:
			return 0, fmt.Errorf("fcgi: the script's header has more than %d bytes", http1.MaxHeader)
		case i < 0:
			return 0, nil
		}
		line := bytes.TrimSuffix(b[h.at:h.seen-1], []byte("\r"))
		h.at = h.seen
		if len(line) == 0 {
			return h.at, h.end()
		}
		h.lines++
		if err := h.field(string(line)); err != nil {
			return 0, err
		}
	}
}

// field reads a line. What the script has printed before its header is none, nor is the
// status line of one that speaks HTTP itself (RFC 3875, section 5).
func (h *head) field(line string) error {
	name, value, ok := strings.Cut(line, ":")
	value = strings.Trim(value, " \t")
	if !ok || !fields.Token(name) || !fields.Value(value) {
		return fmt.Errorf("fcgi: line %d of the script's header is no field", h.lines)
	}
	name = http.CanonicalHeaderKey(name)
	if name != "Status" {
		if h.header == nil {
			h.header = make(http.Header, 8)
		}
		h.header[name] = append(h.header[name], value)
		return nil
	}
	if h.status != 0 {
		return errors.New("fcgi: the script says two statuses")
	}
	h.status = statusOf(value)
	if h.status < http.StatusOK {
		return fmt.Errorf("fcgi: the script says the status %.20q", value)
	}
	return nil
}

// statusOf reads "404 Not Found", or returns 0.
func statusOf(value string) int {
	code, _, _ := strings.Cut(value, " ")
	if len(code) != 3 {
		return 0
	}
	n := 0
	for _, c := range []byte(code) {
		if c < '0' || c > '9' {
			return 0
		}
		n = n*10 + int(c-'0')
	}
	return n
}

// end completes a head.
func (h *head) end() error {
	if h.header == nil { // as of a script that has taken back what PHP says by itself
		h.header = make(http.Header)
	}
	if h.status == 0 {
		h.status = http.StatusOK
		if h.header["Location"] != nil {
			h.status = http.StatusFound
		}
	}
	// How the answer is sent is not the script's affair (RFC 3875, section 6.3.4).
	fields.RemoveHopByHop(h.header)
	if h.header["Content-Length"] != nil && fields.Length(h.header) < 0 {
		return errors.New("fcgi: the script's Content-Length is no number, or not the only one")
	}
	return nil
}
