package http1

import (
	"bytes"
	"encoding/binary"
	"math"
	"net/http"
	"strings"
	"unsafe"

	"github.com/foretier/foretier/internal/fields"
	"github.com/foretier/foretier/internal/target"
)

// Limits bound a head. Zero and less is no limit but [MaxHeader].
type Limits struct {
	Target  int // bytes of a request's target: 414 beyond
	Size    int // bytes of all fields as they came, but Host: 431 beyond
	Fields  int // how many there are but Host, all lines of Cookie as one: 431 beyond
	Cookies int // how many there may be in those: 431 beyond
}

// maxMethod is how many bytes a method may have. None that is in use has half of
// it (RFC 9112, section 3).
const maxMethod = 64

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

// A section is what fields are of.
type section uint8

const (
	ofRequest section = iota
	ofResponse
	ofTrailer // which say nothing of the message
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
		return refuse(http.StatusBadRequest, "malformed request line %q", clip(line))
	case len(method) > maxMethod:
		return refuse(http.StatusNotImplemented, "a method of more than %d bytes: %q", maxMethod, clip(method))
	case !isToken(method):
		return refuse(http.StatusBadRequest, "malformed method %q", clip(method))
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
		return refuse(http.StatusBadRequest, "malformed request line %q", clip(line))
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
		return refuse(http.StatusBadRequest, "malformed field line %q", clip(line))
	case line[n] != ':':
		return refuse(http.StatusBadRequest, "a blank in or behind the name of a field: %q", clip(line))
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
			return refuse(http.StatusBadRequest, "target %q is no host", clip([]byte(h.Target)))
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
			return refuse(http.StatusBadRequest, "target %q is neither a path nor an http URL", clip([]byte(h.Target)))
		}
		if !escapesEnd(h.Target) {
			return refuse(http.StatusBadRequest, "a percent sign in target %q begins no escape", clip([]byte(h.Target)))
		}
	}
	if !fields.Host(h.Host) && (h.Host != "" || h.Minor > 0) || !fields.HostBytes(sent) {
		return refuse(http.StatusBadRequest, "host %q", clip([]byte(h.Host)))
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
