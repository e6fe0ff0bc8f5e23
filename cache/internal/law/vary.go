package law

import (
	"net/http"
	"net/textproto"
	"slices"
	"strings"

	"github.com/foretier/foretier/internal/fields"
)

// Selecting returns the fields that a response's Vary names, canonical, sorted,
// each once, separated by commas (RFC 9110, section 12.5.5). A response in a
// content coding depends on Accept-Encoding even if it forgets to say so: who
// cannot undo the coding has no use for it.
func Selecting(response http.Header) string {
	if response["Vary"] == nil && response["Content-Encoding"] == nil {
		return ""
	}
	var names []string
	for _, name := range fields.List(response["Vary"]) {
		names = append(names, textproto.CanonicalMIMEHeaderKey(name))
	}
	if response["Content-Encoding"] != nil {
		names = append(names, "Accept-Encoding")
	}
	slices.Sort(names)
	return strings.Join(slices.Compact(names), ",")
}

// SelectingOf returns [Selecting] of a response to a request with this header: it
// depends on Origin as well, even if it forgets to say so, where it allows the
// very origin that asked. Who comes first would else decide which site may read
// the page, and no other could.
func SelectingOf(request, response http.Header) string {
	selecting := Selecting(response)
	origin := request["Origin"]
	if len(origin) != 1 || origin[0] == "*" || !slices.Contains(response["Access-Control-Allow-Origin"], origin[0]) {
		return selecting
	}
	if selecting == "" {
		return "Origin"
	}
	names := append(strings.Split(selecting, ","), "Origin")
	slices.Sort(names)
	return strings.Join(slices.Compact(names), ",")
}

// A Selector tells which variants of a response one request selects (RFC 9111,
// section 4.1). It reads each field of the request once, however many variants
// it is asked about. It is for one goroutine.
type Selector struct {
	// Header is the request's, without what has no bearing.
	Header http.Header
	// Classes holds, for fields by their canonical name, what stands for their
	// value.
	Classes map[string]string

	read      []selected
	codings   Codings
	asked     bool       // codings have been read
	languages *Languages // nil: not read yet
}

// A selected field is one that has been read.
type selected struct{ name, value string }

// What stands behind a field's value, and what stands for a field that is not
// there. Neither can be part of a value.
const (
	endOfField = 1
	noField    = 0
)

// value returns what the request has in a field, in the form in which values
// are compared, with its end.
func (s *Selector) value(name string) string {
	for i := range s.read {
		if s.read[i].name == name {
			return s.read[i].value
		}
	}
	value := string(append(s.appendValue(nil, name), endOfField))
	s.read = append(s.read, selected{name, value})
	return value
}

func (s *Selector) appendValue(buf []byte, name string) []byte {
	if class, ok := s.Classes[name]; ok {
		return append(buf, class...)
	}
	lines := s.Header[name]
	switch {
	case name == "Accept-Encoding":
		return append(buf, mark(s.accepts().sent()))
	case len(lines) == 0:
		return append(buf, noField)
	case name == "Accept-Language":
		return append(buf, s.likes().key...)
	}
	return appendMembers(buf, lines)
}

func (s *Selector) accepts() Codings {
	if !s.asked {
		s.codings, s.asked = ReadCodings(s.Header["Accept-Encoding"]), true
	}
	return s.codings
}

func (s *Selector) likes() *Languages {
	if s.languages == nil {
		s.languages = ReadLanguages(s.Header["Accept-Language"])
	}
	return s.languages
}

// Append appends to buf what the request has in the selecting fields.
func (s *Selector) Append(buf []byte, selecting string) []byte {
	for name := range strings.SplitSeq(selecting, ",") {
		buf = append(buf, s.value(name)...)
	}
	return buf
}

// Variant returns what is stored of the request beside a response to it, for
// [Selector.Selects].
func (s *Selector) Variant(selecting string, response http.Header) string {
	var buf []byte
	for name := range strings.SplitSeq(selecting, ",") {
		if _, class := s.Classes[name]; name == "Accept-Encoding" && !class {
			buf = appendCoded(buf, s.accepts(), response["Content-Encoding"])
			continue
		}
		buf = append(buf, s.value(name)...)
	}
	return string(buf)
}

// Selects reports whether the request selects the variant that was stored: its
// fields are the same in the form in which they are compared, the stored
// response has a coding that the request accepts, or it is in the one language
// that the request likes best, which language returns from Content-Language.
func (s *Selector) Selects(selecting, variant string, language func() string) bool {
	for name := range strings.SplitSeq(selecting, ",") {
		if _, class := s.Classes[name]; name == "Accept-Encoding" && !class {
			var ok bool
			if variant, ok = s.accepts().cutCoded(variant); !ok {
				return false
			}
			continue
		}
		if rest, ok := strings.CutPrefix(variant, s.value(name)); ok {
			variant = rest
			continue
		}
		if name != "Accept-Language" || s.likes().best == "" || !strings.EqualFold(s.likes().best, language()) {
			return false
		}
		_, variant, _ = strings.Cut(variant, string(rune(endOfField)))
	}
	return true
}

// appendMembers appends the members of a list, without the white space around
// them, those of several lines as if they stood in one.
func appendMembers(buf []byte, lines []string) []byte {
	first := true
	for _, line := range lines {
		for line != "" {
			var member string
			if member, line = fields.CutMember(line); !first {
				buf = append(buf, ',')
			}
			first = false
			buf = append(buf, textproto.TrimString(member)...)
		}
	}
	return buf
}
