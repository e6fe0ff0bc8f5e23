package fields

import (
	"net/http"
	"strconv"
	"strings"
)

// MinCoded is the length in bytes below which nothing is compressed: it fits one
// packet either way.
const MinCoded = 1 << 10

// Codable reports whether the body of a response with this header may be sent in a
// content coding that the tier has put it in (RFC 9110, section 8.4): it is text, by
// its type, in no coding yet, the whole, not known to be short, and nothing forbids
// to change it or says what its bytes are.
func Codable(h http.Header) bool {
	types := h["Content-Type"]
	if len(types) != 1 || !isText(types[0]) || HasToken(h["Cache-Control"], "no-transform") {
		return false
	}
	for _, name := range [...]string{
		"Content-Encoding", "Content-Range",
		"Content-Md5", "Digest", "Content-Digest", "Repr-Digest", // RFC 9530
		"Signature", // RFC 9421: of a digest, perhaps
	} {
		if h[name] != nil {
			return false
		}
	}
	for _, line := range h["Surrogate-Control"] {
		if strings.Contains(line, "content=") { // whoever is to make the page of it reads it
			return false
		}
	}
	if length := h["Content-Length"]; len(length) == 1 {
		n, err := strconv.ParseInt(length[0], 10, 64)
		return err == nil && n >= MinCoded
	}
	return true
}

// isText reports whether what has this type is text, or is compressed no less.
func isText(contentType string) bool {
	name, _, _ := strings.Cut(contentType, ";")
	name = strings.ToLower(strings.TrimSpace(name))
	kind, sub, _ := strings.Cut(name, "/")
	if kind == "text" {
		return sub != "" && sub != "event-stream"
	}
	if _, suffix, ok := cutLast(sub, '+'); ok { // RFC 6839
		return suffix == "json" || suffix == "xml"
	}
	return texts[name]
}

// texts are the types that are compressed although neither their kind nor their suffix
// says that they are text.
var texts = func() map[string]bool {
	out := make(map[string]bool)
	for _, name := range [...]string{
		"application/json", "application/xml", "application/javascript", "application/x-javascript", "application/ecmascript",
		"application/wasm", "application/x-ndjson", "application/jsonl", "application/graphql", "application/rtf", "application/yaml",
		"application/toml", "application/vnd.ms-fontobject", "application/x-font-ttf", "application/x-font-opentype",
		"font/ttf", "font/otf", "font/sfnt", "font/collection", "image/bmp", "image/x-icon", "image/vnd.microsoft.icon",
	} {
		out[name] = true
	}
	return out
}()

func cutLast(s string, sep byte) (before, after string, found bool) {
	if i := strings.LastIndexByte(s, sep); i >= 0 {
		return s[:i], s[i+1:], true
	}
	return s, "", false
}

// Code makes the header of a whole response that of the same in a content coding. It
// is another representation, and so has another validator: a weak one, that of what
// means the same (RFC 9110, section 8.8.1), which conditions for the other match as
// well. Parts are had of the other alone.
func Code(h http.Header, coding string) {
	h["Content-Encoding"] = []string{coding}
	delete(h, "Content-Length")
	delete(h, "Accept-Ranges")
	if tags := h["Etag"]; len(tags) == 1 {
		h["Etag"] = []string{WeakTag(tags[0])}
	}
	VaryByCoding(h)
}

// WeakTag returns an entity tag as a weak one (RFC 9110, section 8.8.3).
func WeakTag(tag string) string {
	if strings.HasPrefix(tag, "W/") {
		return tag
	}
	return "W/" + tag
}

// HasTag reports whether a list of entity tags, such as If-None-Match, has this very one.
func HasTag(lines []string, tag string) bool {
	for _, line := range lines {
		for line != "" {
			var member string
			member, line = CutMember(line)
			if strings.TrimSpace(member) == tag {
				return true
			}
		}
	}
	return false
}

// VaryByCoding adds Accept-Encoding to Vary, if that does not name it.
func VaryByCoding(h http.Header) {
	lines := h["Vary"]
	if !HasToken(lines, "Accept-Encoding") && !HasToken(lines, "*") {
		h["Vary"] = append(lines[:len(lines):len(lines)], "Accept-Encoding")
	}
}
