package fields

import (
	"net/http"
	"strings"
)

// CacheControl makes value all that an answer says to caches: it sets
// Cache-Control, and removes every other field for which [OrdersCaches] is true. A
// shared cache heeds those before Cache-Control, so an answer is taken out of
// all of them here or not at all.
//
// What Surrogate-Control asks to have made of an answer by content, such as
// content="ESI/1.0", stays: it is as true of an answer that nobody keeps.
func CacheControl(h http.Header, value string) {
	var content []string
	for name, lines := range h {
		if !OrdersCaches(name) {
			continue
		}
		if EqualFold(name, surrogateControl) {
			content = contents(content, lines)
		}
		delete(h, name)
	}
	if content != nil {
		h[surrogateControl] = content
	}
	h["Cache-Control"] = []string{value}
}

const surrogateControl = "Surrogate-Control" // Edge Architecture Specification

// contents appends to out the members of Surrogate-Control that are called content.
func contents(out, lines []string) []string {
	for _, line := range lines {
		for line != "" {
			var member string
			member, line = CutMember(line)
			if name, _, _ := strings.Cut(member, "="); EqualFold(strings.TrimSpace(name), "content") {
				out = append(out, strings.TrimSpace(member))
			}
		}
	}
	return out
}

// OrdersCaches reports whether the field called name says what a cache may do
// with the answer it stands in. Targeted fields go by their form, since every cache may
// have one of its own name (RFC 9213, section 2), this tier's included.
func OrdersCaches(name string) bool {
	const form = "Cache-Control"
	if at := len(name) - len(form); at == 0 || at > 0 && name[at-1] == '-' {
		if EqualFold(name[at:], form) {
			return true
		}
	}
	for _, known := range [...]string{
		"Expires", "Pragma", // RFC 9111, sections 5.3 and 5.4
		surrogateControl,
		"X-Accel-Expires", // nginx
		"Edge-Control",    // Akamai
	} {
		if EqualFold(name, known) {
			return true
		}
	}
	return false
}

// MayBeShared reports whether an answer says to some cache that it may be kept
// for others than its client, or how long it may be kept.
func MayBeShared(h http.Header) bool {
	orders := false
	for name, lines := range h {
		if len(lines) > 0 && OrdersCaches(name) && name != "Pragma" {
			if name != "Cache-Control" && name != "Expires" {
				return true // heeded before Cache-Control
			}
			orders = true
		}
	}
	return orders && !OwnToClient(h)
}

// OwnToClient reports whether the Cache-Control of an answer keeps it from all
// shared caches by itself: it says private or no-store, of the whole answer,
// and nothing that some cache takes for leave in spite of it (must-understand
// takes no-store back: RFC 9111, section 5.2.2.3).
func OwnToClient(h http.Header) bool {
	own := false
	for _, line := range h["Cache-Control"] {
		if strings.Contains(line, `"`) { // of single fields, or an argument with anything in it
			return false
		}
		for directive := range strings.SplitSeq(line, ",") {
			name, _, argument := strings.Cut(directive, "=")
			name = strings.TrimSpace(name)
			switch {
			case EqualFold(name, "private"), EqualFold(name, "no-store"):
				if argument {
					return false
				}
				own = true
			case EqualFold(name, "public"), EqualFold(name, "s-maxage"), EqualFold(name, "must-understand"):
				return false
			}
		}
	}
	return own
}
