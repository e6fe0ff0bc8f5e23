package session

import (
	"net/http"
	"net/textproto"
	"strings"

	"github.com/foretier/foretier/internal/fields"
)

// hasPoser reports whether h carries a cookie that poses as name.
func hasPoser(h http.Header, name string) bool {
	for _, line := range h["Cookie"] {
		if !strings.ContainsAny(line, ".[+%\t ") { // the least that a poser needs
			continue
		}
		for len(line) > 0 {
			var pair string
			pair, line, _ = strings.Cut(line, ";")
			k, _, _ := strings.Cut(textproto.TrimString(pair), "=")
			if fields.Poses(textproto.TrimString(k), name) {
				return true
			}
		}
	}
	return false
}

// withoutPosers returns h without the cookies that pose as name, and h itself
// if there are none.
func withoutPosers(h http.Header, name string) http.Header {
	if !hasPoser(h, name) {
		return h
	}
	h = h.Clone()
	fields.DropCookies(h, func(sent string) bool { return fields.Poses(sent, name) })
	return h
}
