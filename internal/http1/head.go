package http1

import (
	"bytes"
	"math"
	"unsafe"

	"github.com/foretier/foretier/internal/fields"
)

// Limits bound a head. Zero and less is no limit but [MaxHeader].
type Limits struct {
	Target  int // bytes of a request's target: 414 beyond
	Size    int // bytes of all fields as they came, but Host: 431 beyond
	Fields  int // how many there are but Host, all lines of Cookie as one: 431 beyond
	Cookies int // how many there may be in those: 431 beyond
}

// The lengths of bodies of which nobody says how long they are.
const (
	chunked  = -1
	untilEnd = -2 // of the connection, as a response's may be
)

// A Head is the head of one message, read in place: its strings are parts of the
// buffer that it was read from, and change with that. The zero Head is ready to
// parse, and again once a message is whole; whoever gives one up before calls
// Reset.
//
// A request's is read strictly (RFC 9110, RFC 9112): what two servers might
// understand differently is refused, also where net/http forgives it: a length
// beside chunks or repeated, chunks in HTTP/1.0, lines that end in LF alone, folded
// lines. One empty line before it is skipped (section 2.2).
type Head struct {
	Method string
	Target string // as sent: a path, an http or https URL, or for CONNECT a host
	Host   string // what is asked for: of the target, else of the field; "" only in HTTP/1.0
	Status int    // of a response; 0: it is a request
	Minor  int    // of the version HTTP/1.x
	// Length is how long the body is: -1 if it comes in chunks; -2 if it ends with
	// its connection, as a response's may.
	Length int64
	// Close says that nothing follows the message on its connection.
	Close bool
	// Expect says that the client waits for 100 before it sends its body.
	Expect bool
	// Upgrade is what the message asks to switch to, or switches to: "" for nothing.
	Upgrade string
	// Size is how many bytes the head took, the empty line before it included.
	Size int

	stage  stage
	at     int // where the line begins that is read next
	seen   int // up to where it was searched for its end
	free   int // bytes of the head that Limits.Size does not count
	begin  int // where the first line begins
	b      []byte
	fields []field

	method, target, reason span // reason: a response's status, and what it says of it

	host, upgrade, lengthAt int // which fields; -1: none
	uncounted, cookies      int // fields that Limits.Fields does not count; what Limits.Cookies does

	length                                    int64 // as Content-Length has it
	hasLength, chunked                        bool
	saysClose, saysKeep, saysUpgrade, expects bool // Connection, and Expect
	saysTrailer                               bool
	toHEAD                                    bool // it answers HEAD
	kept                                      bool // b is the head's own, and its names are canonical
	dropped                                   bool // the line before was left out, and what is folded behind it is too
}

// A stage is how far a head was read.
type stage uint8

const (
	atStart stage = iota
	atLine
	atFields
	atEnd
)

// A span is where something stands in what is read.
type span struct{ from, to uint32 }

func spanOf(from, to int) span { return span{uint32(from), uint32(to)} }

type field struct {
	id          Name
	name, value span
}

// str is b as a string, for as long as b stays as it is.
func str(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// bytesOf is s as bytes, which nobody writes to.
func bytesOf(s string) []byte { return unsafe.Slice(unsafe.StringData(s), len(s)) }

func (s span) of(b []byte) string { return str(b[s.from:s.to]) }

// Reset makes h ready for another message.
func (h *Head) Reset() {
	kept := h.fields[:0]
	if cap(kept) > 1<<10 {
		kept = nil
	}
	*h = Head{fields: kept}
}

// Len is how many fields there are, in the order in which they came.
func (h *Head) Len() int { return len(h.fields) }

// Field returns the field at i: its name as it was sent and by number, and its
// value without blanks around it.
func (h *Head) Field(i int) (id Name, name, value string) {
	f := &h.fields[i]
	return f.id, f.name.of(h.b), f.value.of(h.b)
}

// Value returns the first value of a field, "" if there is none.
func (h *Head) Value(id Name) string {
	for i := range h.fields {
		if h.fields[i].id == id {
			return h.fields[i].value.of(h.b)
		}
	}
	return ""
}

// Get is Value for any name.
func (h *Head) Get(name string) string {
	id := Known(name)
	for i := range h.fields {
		if f := &h.fields[i]; f.id == id && (id != other || fields.EqualFold(f.name.of(h.b), name)) {
			return f.value.of(h.b)
		}
	}
	return ""
}

// line returns the next line without its LF, or false if it is not whole.
func (h *Head) line(b []byte) ([]byte, bool) {
	i := bytes.IndexByte(b[h.seen:], '\n')
	if i < 0 {
		h.seen = len(b)
		return nil, false
	}
	line := b[h.at : h.seen+i]
	h.at = h.seen + i + 1
	h.seen = h.at
	return line, true
}

func bound(limit int) int {
	if limit <= 0 {
		return MaxHeader
	}
	return min(limit, 1<<30) // which a span can hold
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

func cut(b []byte, sep byte) (before, after []byte, ok bool) {
	if i := bytes.IndexByte(b, sep); i >= 0 {
		return b[:i], b[i+1:], true
	}
	return b, nil, false
}

func isToken(b []byte) bool {
	for _, c := range b {
		if lower[c] == 0 {
			return false
		}
	}
	return len(b) > 0
}

// noteHop keeps what a field says of the connection and of what follows.
func (h *Head) noteHop(i int, v string) {
	switch h.fields[i].id {
	case nameConnection:
		h.noteConnection(v)
	case nameUpgrade:
		if h.upgrade < 0 {
			h.upgrade = i
		}
	case nameTrailer:
		h.saysTrailer = true
	}
}

func parseLength(v string) (n int64, ok bool) {
	for i := range len(v) {
		c := v[i]
		if !isDigit(c) || n > (math.MaxInt64-int64(c-'0'))/10 {
			return 0, false
		}
		n = n*10 + int64(c-'0')
	}
	return n, v != ""
}

// noteConnection reads a line of Connection (RFC 9110, section 7.6.1).
func (h *Head) noteConnection(v string) {
	switch { // nearly all are one of these
	case fields.EqualFold(v, "keep-alive"):
		h.saysKeep = true
		return
	case fields.EqualFold(v, "close"):
		h.saysClose = true
		return
	}
	lines := [1]string{v}
	for member := range fields.Members(lines[:]) {
		switch {
		case fields.EqualFold(member, "close"):
			h.saysClose = true
		case fields.EqualFold(member, "keep-alive"):
			h.saysKeep = true
		case fields.EqualFold(member, "upgrade"):
			h.saysUpgrade = true
		}
	}
}

// mayAnnounce reports whether no line of Trailer names a field by which a message
// ends. Others that must not be trailers either are left out when they come.
func (h *Head) mayAnnounce() bool {
	for i := range h.fields {
		if h.fields[i].id != nameTrailer {
			continue
		}
		lines := [1]string{h.fields[i].value.of(h.b)}
		for name := range fields.Members(lines[:]) {
			switch nameOf([]byte(name)) {
			case nameContentLength, nameTransferEncoding, nameTrailer:
				return false
			}
		}
	}
	return true
}
